// peer.go: Pion's end of a test connection, driven by the JSON lines of `swarm connect`, and with the same arguments.
//
//	peer connect -offer|-answer [-label L] [-echo] [-unordered] [-max-retransmits N] [-max-packet-life-time MS]
//	             [-media echo|send] [-media-kinds audio,video] [-packets N] [-lasting D] [-no-channel] [-profile NAME]
//
// With -media it has tracks (media.go), and runs until the input ends.
//
// The channel is read detached, in pieces as long as messages may be: Pion's callback knows no message beyond 64 KiB.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/dtls/v2"
	"github.com/pion/ice/v2"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/webrtc" // version 3, as Debian installs it
)

const largestMessage = 262144

// A line, in either direction; which members are present says what it is.
type line struct {
	Type          string  `json:"type,omitempty"`
	SDP           string  `json:"sdp,omitempty"`
	Candidate     *string `json:"candidate,omitempty"`
	SDPMid        *string `json:"sdpMid,omitempty"`
	SDPMLineIndex *uint16 `json:"sdpMLineIndex,omitempty"`
	Event         string  `json:"event,omitempty"`
	Label         string  `json:"label,omitempty"`
	Ordered       *bool   `json:"ordered,omitempty"`
	Retransmits   *uint16 `json:"maxRetransmits,omitempty"`
	Lifetime      *uint16 `json:"maxPacketLifeTime,omitempty"`
	Text          *string `json:"text,omitempty"`
	Base64        *string `json:"base64,omitempty"`
	Send          *string `json:"send,omitempty"`
	SendBase64    *string `json:"sendBase64,omitempty"`
	Close         bool    `json:"close,omitempty"`
	Stats         bool    `json:"stats,omitempty"`
}

var output sync.Mutex

func write(value line) { tell(value) }

func tell(value any) {
	text, err := json.Marshal(value)
	must(err)
	output.Lock()
	defer output.Unlock()
	_, err = fmt.Printf("%s\n", text)
	must(err)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

// The open channel, for the input, which may ask to send before there is one.
type openChannel struct {
	channel *webrtc.DataChannel
	raw     *datachannel.DataChannel
}

type session struct {
	connection *webrtc.PeerConnection
	echo       bool
	early      []webrtc.ICECandidateInit // that came before the description they belong to
	opened     chan openChannel
	over       chan struct{}
	media      *media // nil without -media
}

func (s *session) adopt(channel *webrtc.DataChannel) {
	channel.OnOpen(func() {
		detached, err := channel.Detach()
		must(err)
		raw := detached.(*datachannel.DataChannel)
		ordered := channel.Ordered()
		write(line{
			Event: "open", Label: channel.Label(), Ordered: &ordered, Retransmits: channel.MaxRetransmits(),
			Lifetime: channel.MaxPacketLifeTime(),
		})
		s.opened <- openChannel{channel, raw}
		go s.read(raw)
	})
}

func (s *session) read(channel *datachannel.DataChannel) {
	buffer := make([]byte, largestMessage)
	for {
		count, isText, err := channel.ReadDataChannel(buffer)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "peer: reading ends:", err)
			}
			write(line{Event: "closed"})
			if s.media == nil {
				close(s.over)
			}
			return
		}
		message := buffer[:count]
		switch {
		case s.echo:
			_, err = channel.WriteDataChannel(message, isText)
			must(err)
		case isText:
			text := string(message)
			write(line{Event: "message", Text: &text})
		default:
			text := base64.StdEncoding.EncodeToString(message)
			write(line{Event: "message", Base64: &text})
		}
	}
}

// apply carries out one line of the input; the channel is waited for by the lines that need it.
func (s *session) apply(given line, channel func() openChannel) {
	switch {
	case given.SDP != "":
		description := webrtc.SessionDescription{Type: webrtc.NewSDPType(given.Type), SDP: given.SDP}
		must(s.connection.SetRemoteDescription(description))
		for _, candidate := range s.early {
			must(s.connection.AddICECandidate(candidate))
		}
		if description.Type == webrtc.SDPTypeOffer {
			if s.media != nil {
				s.media.adopt()
			}
			answer, err := s.connection.CreateAnswer(nil)
			must(err)
			s.describe(answer)
		}
	case given.Candidate != nil:
		candidate := webrtc.ICECandidateInit{
			Candidate: *given.Candidate, SDPMid: given.SDPMid, SDPMLineIndex: given.SDPMLineIndex,
		}
		if s.connection.RemoteDescription() == nil {
			s.early = append(s.early, candidate)
		} else {
			must(s.connection.AddICECandidate(candidate))
		}
	case given.Send != nil:
		_, err := channel().raw.WriteDataChannel([]byte(*given.Send), true)
		must(err)
	case given.SendBase64 != nil:
		data, err := base64.StdEncoding.DecodeString(*given.SendBase64)
		must(err)
		_, err = channel().raw.WriteDataChannel(data, false)
		must(err)
	case given.Stats:
		s.media.tellAll()
	case given.Close:
		for channel().raw.BufferedAmount() > 0 {
			time.Sleep(5 * time.Millisecond)
		}
		must(channel().raw.Close())
	}
}

func (s *session) describe(description webrtc.SessionDescription) {
	// The description first: candidates follow as soon as it is set.
	write(line{Type: description.Type.String(), SDP: description.SDP})
	must(s.connection.SetLocalDescription(description))
}

func (s *session) readInput() {
	var current *openChannel
	channel := func() openChannel {
		if current == nil {
			opened := <-s.opened
			current = &opened
		}
		return *current
	}
	reader := bufio.NewReader(os.Stdin)
	for {
		text, err := reader.ReadBytes('\n')
		if err != nil {
			break
		}
		var given line
		must(json.Unmarshal(text, &given))
		s.apply(given, channel)
	}
	if s.media != nil {
		s.media.tellAll()
		close(s.over)
	}
}

func main() {
	if len(os.Args) < 2 || os.Args[1] != "connect" {
		must(errors.New("the first argument is connect"))
	}
	flags := flag.NewFlagSet("peer connect", flag.ExitOnError)
	offers := flags.Bool("offer", false, "make the offer")
	answers := flags.Bool("answer", false, "wait for one")
	label := flags.String("label", "pion", "of the channel, with -offer")
	echo := flags.Bool("echo", false, "send every message back")
	unordered := flags.Bool("unordered", false, "messages may overtake each other")
	retransmits := flags.Int("max-retransmits", -1, "give a message up after so many")
	lifetime := flags.Int("max-packet-life-time", -1, "give a message up after so many milliseconds")
	what := flags.String("media", "", "echo: send every packet back; send: send numbered ones, and compare what comes back")
	kinds := flags.String("media-kinds", "audio,video", "with -offer or send: which tracks")
	packets := flags.Int("packets", 1000, "with send: how many, on each track")
	lasting := flags.Duration("lasting", 4*time.Second, "with send: for how long")
	noChannel := flags.Bool("no-channel", false, "with -offer: no data section")
	profile := flags.String("profile", "", "of SRTP, the only one offered or taken: AEAD_AES_128_GCM or AES128_CM_HMAC_SHA1_80")
	must(flags.Parse(os.Args[2:]))
	if *offers == *answers {
		must(errors.New("either -offer or -answer"))
	}

	settings := webrtc.SettingEngine{}
	logs := logging.NewDefaultLoggerFactory()
	logs.Writer = os.Stderr
	settings.LoggerFactory = logs
	settings.DetachDataChannels()
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	switch *profile {
	case "AEAD_AES_128_GCM":
		settings.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM)
	case "AES128_CM_HMAC_SHA1_80":
		settings.SetSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	}
	engine, registry := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if *what != "" {
		prepare(engine, registry)
	}
	connection, err := webrtc.NewAPI(
		webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry),
	).NewPeerConnection(webrtc.Configuration{})
	must(err)
	s := &session{connection: connection, echo: *echo, opened: make(chan openChannel, 1), over: make(chan struct{})}
	connection.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		text, mid, index := "", "0", uint16(0)
		if candidate != nil {
			text = candidate.ToJSON().Candidate
		}
		write(line{Candidate: &text, SDPMid: &mid, SDPMLineIndex: &index})
	})
	connection.OnDataChannel(s.adopt)
	if *what != "" {
		s.media = &media{
			connection: connection, kinds: kindsOf(*kinds), isEchoed: *what == "echo", packets: *packets, lasting: *lasting,
		}
		connection.OnTrack(s.media.came)
		connection.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
			if state == webrtc.PeerConnectionStateConnected {
				s.media.connected()
			}
		})
		if *offers {
			s.media.add()
		}
	}
	if *offers && !*noChannel {
		ordered := !*unordered
		options := &webrtc.DataChannelInit{Ordered: &ordered}
		if *retransmits >= 0 {
			limit := uint16(*retransmits)
			options.MaxRetransmits = &limit
		}
		if *lifetime >= 0 {
			limit := uint16(*lifetime)
			options.MaxPacketLifeTime = &limit
		}
		channel, err := connection.CreateDataChannel(*label, options)
		must(err)
		s.adopt(channel)
	}
	if *offers {
		offer, err := connection.CreateOffer(nil)
		must(err)
		s.describe(offer)
	}
	go s.readInput()
	<-s.over
	if err := connection.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "peer: closing:", err) // the other side may have closed before
	}
}
