// bulk.go: the measurement of `swarm bench bulk`, done by Pion. The listening end sends.
//
//	bulk -listen ADDR:PORT -seconds 20 -warm-up 3 -size 16384
//	bulk -connect ADDR:PORT
//
// Descriptions, and the plan and the result beside them, travel as JSON lines over one TCP connection.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc" // version 3, as Debian installs it
)

// How much waits in the channel: as in Pion's own example of flow control.
const (
	mostBuffered = 1024 * 1024
	lowBuffered  = 512 * 1024
)

type plan struct {
	Seconds float64
	WarmUp  float64
	Offer   webrtc.SessionDescription
}

type result struct {
	Rate float64 `json:"mbit_per_s"`
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bulk:", err)
		os.Exit(1)
	}
}

func newConnection() *webrtc.PeerConnection {
	connection, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	must(err)
	return connection
}

// describe sets a local description and returns it with all candidates inside.
func describe(connection *webrtc.PeerConnection, description webrtc.SessionDescription) webrtc.SessionDescription {
	gathered := webrtc.GatheringCompletePromise(connection)
	must(connection.SetLocalDescription(description))
	<-gathered
	return *connection.LocalDescription()
}

func send(signaling net.Conn, seconds, warmUp float64, size int) {
	connection := newConnection()
	defer connection.Close()
	channel, err := connection.CreateDataChannel("flow", nil)
	must(err)
	low := make(chan struct{}, 1)
	channel.SetBufferedAmountLowThreshold(lowBuffered)
	channel.OnBufferedAmountLow(func() {
		select {
		case low <- struct{}{}:
		default:
		}
	})
	channel.OnOpen(func() {
		message := make([]byte, size)
		end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
		for time.Now().Before(end) {
			must(channel.Send(message))
			if channel.BufferedAmount() > mostBuffered {
				<-low
			}
		}
	})
	encoder, decoder := json.NewEncoder(signaling), json.NewDecoder(signaling)
	offer, err := connection.CreateOffer(nil)
	must(err)
	must(encoder.Encode(plan{seconds, warmUp, describe(connection, offer)}))
	var answer webrtc.SessionDescription
	must(decoder.Decode(&answer))
	must(connection.SetRemoteDescription(answer))
	var found result
	must(decoder.Decode(&found))
	must(json.NewEncoder(os.Stdout).Encode(found))
}

func receive(signaling net.Conn) {
	connection := newConnection()
	defer connection.Close()
	encoder, decoder := json.NewEncoder(signaling), json.NewDecoder(signaling)
	var asked plan
	must(decoder.Decode(&asked))
	began := make(chan time.Time, 1)
	var hasBegun bool
	var received int64
	connection.OnDataChannel(func(channel *webrtc.DataChannel) {
		channel.OnMessage(func(message webrtc.DataChannelMessage) {
			if !hasBegun {
				hasBegun = true
				began <- time.Now()
			}
			atomic.AddInt64(&received, int64(len(message.Data)))
		})
	})
	must(connection.SetRemoteDescription(asked.Offer))
	answer, err := connection.CreateAnswer(nil)
	must(err)
	must(encoder.Encode(describe(connection, answer)))
	start := <-began
	after := func(seconds float64) int64 {
		time.Sleep(time.Until(start.Add(time.Duration(seconds * float64(time.Second)))))
		return atomic.LoadInt64(&received)
	}
	before := after(asked.WarmUp)
	all := after(asked.Seconds)
	must(encoder.Encode(result{float64(all-before) * 8 / (asked.Seconds - asked.WarmUp) / 1e6}))
}

func main() {
	listen := flag.String("listen", "", "wait here for the other end, and send to it")
	connect := flag.String("connect", "", "receive from the end that waits there")
	seconds := flag.Float64("seconds", 20, "how long to send")
	warmUp := flag.Float64("warm-up", 3, "seconds that do not count")
	size := flag.Int("size", 16384, "bytes a message")
	flag.Parse()
	if *connect != "" {
		signaling, err := net.Dial("tcp", *connect)
		must(err)
		receive(signaling)
		return
	}
	listener, err := net.Listen("tcp", *listen)
	must(err)
	signaling, err := listener.Accept()
	must(err)
	send(signaling, *seconds, *warmUp, *size)
}
