// media.go: the tracks of Pion's end. Either numbered packets go out, and are to come back byte for byte, or what comes
// is sent back: what `swarm connect --media echo` does, for a driver to be tried out with.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc"
)

const (
	firstSequence = 65_400 // so that sequence numbers wrap after 136 packets
	settling      = 700 * time.Millisecond
	askEvery      = 300 * time.Millisecond // for a keyframe
)

// What is said about one track; the names are those of `swarm connect`, and more.
type trackReport struct {
	Event    string `json:"event"`
	MID      string `json:"mid"`
	Kind     string `json:"kind"`
	Codec    string `json:"codec,omitempty"`
	Sent     int    `json:"sent"`
	Received int    `json:"received"` // when packets are numbered: those with the right bytes, each counted once
	Repeated int    `json:"repeated"`
	Damaged  int    `json:"damaged"`
	Late     int    `json:"late"` // after one with a higher number

	// RTCP about what goes out.
	NACKs            int    `json:"nacks"`
	KeyframeRequests int    `json:"keyframeRequests"`
	ReceiverReports  int    `json:"receiverReports"`
	TransportCC      int    `json:"transportCC"`
	Lost             uint32 `json:"lost"` // by the last receiver report
	// RTCP about what comes in.
	SenderReports int    `json:"senderReports"`
	Asked         int    `json:"asked"` // for a keyframe
	CNAME         string `json:"cname,omitempty"`
}

// A track in both directions: what goes out is written here, what comes in is compared, or goes out again.
type track struct {
	sync.Mutex
	kind     webrtc.RTPCodecType
	writer   webrtc.TrackLocalWriter
	ssrc     uint32
	payload  uint8
	report   trackReport
	seen     map[uint32]bool
	highest  uint32
	asking   func()
	isEchoed bool
}

// Bind and what follows make it a track that Pion can send.
func (t *track) Bind(context webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	t.Lock()
	defer t.Unlock()
	codec := context.CodecParameters()[0]
	t.writer, t.ssrc, t.payload = context.WriteStream(), uint32(context.SSRC()), uint8(codec.PayloadType)
	return codec, nil
}

func (t *track) Unbind(webrtc.TrackLocalContext) error { return nil }
func (t *track) ID() string                            { return "interop-" + t.kind.String() }
func (t *track) RID() string                           { return "" }
func (t *track) StreamID() string                      { return "interop" }
func (t *track) Kind() webrtc.RTPCodecType             { return t.kind }

func (t *track) write(header *rtp.Header, payload []byte) {
	t.Lock()
	writer := t.writer
	header.Version, header.SSRC = 2, t.ssrc
	t.report.Sent++
	t.Unlock()
	if writer == nil {
		return
	}
	if _, err := writer.WriteRTP(header, payload); err != nil {
		fmt.Fprintln(os.Stderr, "peer: a packet is not sent:", err)
	}
}

// What the packet with this number carries: the number, and bytes that follow from it.
func numbered(number uint32) []byte {
	random := rand.New(rand.NewSource(int64(number)))
	payload := make([]byte, 4+random.Intn(1_140))
	random.Read(payload)
	binary.BigEndian.PutUint32(payload, number)
	return payload
}

// send writes `count` numbered packets in `lasting`; every fifth ends a frame.
func (t *track) send(count int, lasting time.Duration) {
	began := time.Now()
	for number := 0; number < count; number++ {
		time.Sleep(time.Until(began.Add(lasting * time.Duration(number) / time.Duration(count))))
		t.write(&rtp.Header{
			Marker: number%5 == 4, PayloadType: t.payload, SequenceNumber: uint16(firstSequence + number),
			Timestamp: uint32(number / 5 * 3_000),
		}, numbered(uint32(number)))
	}
}

// take compares a packet that has come back with what was sent under its number.
func (t *track) take(packet *rtp.Packet) {
	t.Lock()
	defer t.Unlock()
	if len(packet.Payload) < 4 {
		t.report.Damaged++
		return
	}
	number := binary.BigEndian.Uint32(packet.Payload)
	switch {
	case !bytes.Equal(packet.Payload, numbered(number)), packet.Marker != (number%5 == 4),
		packet.Timestamp != number/5*3_000, packet.SSRC == t.ssrc, packet.PayloadType != t.payload:
		t.report.Damaged++
	case t.seen[number]:
		t.report.Repeated++
	default:
		t.seen[number] = true
		t.report.Received++
		if number < t.highest {
			t.report.Late++
		}
		t.highest = max(number, t.highest)
	}
}

func max(a, b uint32) uint32 {
	if a > b {
		return a
	}
	return b
}

// readFeedback counts what the other side says about what it gets.
func (t *track) readFeedback(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		t.Lock()
		for _, packet := range packets {
			switch packet := packet.(type) {
			case *rtcp.TransportLayerNack:
				t.report.NACKs++
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				t.report.KeyframeRequests++
				if t.isEchoed && t.asking != nil {
					go t.asking()
				}
			case *rtcp.TransportLayerCC:
				t.report.TransportCC++
			case *rtcp.ReceiverReport:
				t.countReports(packet.Reports)
			case *rtcp.SenderReport:
				t.countReports(packet.Reports)
			}
		}
		t.Unlock()
	}
}

func (t *track) countReports(reports []rtcp.ReceptionReport) {
	for _, report := range reports {
		if report.SSRC == t.ssrc {
			t.report.ReceiverReports++
			t.report.Lost = report.TotalLost
		}
	}
}

// readReports counts what the other side says about what it sends.
func (t *track) readReports(receiver *webrtc.RTPReceiver) {
	for {
		packets, _, err := receiver.ReadRTCP()
		if err != nil {
			return
		}
		t.Lock()
		for _, packet := range packets {
			switch packet := packet.(type) {
			case *rtcp.SenderReport:
				t.report.SenderReports++
			case *rtcp.SourceDescription:
				for _, chunk := range packet.Chunks {
					for _, item := range chunk.Items {
						if item.Type == rtcp.SDESCNAME {
							t.report.CNAME = item.Text
						}
					}
				}
			}
		}
		t.Unlock()
	}
}

// The tracks of a connection, and what is done with them.
type media struct {
	connection *webrtc.PeerConnection
	kinds      []webrtc.RTPCodecType
	isEchoed   bool
	packets    int
	lasting    time.Duration
	tracks     sync.Map // kind to *track
	begin      sync.Once
}

// prepare registers what Pion is to know of codecs, extensions and RTCP.
func prepare(engine *webrtc.MediaEngine, registry *interceptor.Registry) {
	video := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}
	for _, codec := range []struct {
		number           webrtc.PayloadType
		name, parameters string
	}{
		{96, webrtc.MimeTypeVP8, ""},
		{98, webrtc.MimeTypeVP9, "profile-id=0"},
		{102, webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"},
		{45, webrtc.MimeTypeAV1, ""},
	} {
		must(engine.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: codec.name, ClockRate: 90_000, SDPFmtpLine: codec.parameters, RTCPFeedback: video,
			},
			PayloadType: codec.number,
		}, webrtc.RTPCodecTypeVideo))
	}
	must(engine.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48_000, Channels: 2,
			SDPFmtpLine: "minptime=10;useinbandfec=1"}, PayloadType: 111,
	}, webrtc.RTPCodecTypeAudio))
	must(webrtc.RegisterDefaultInterceptors(engine, registry))
	must(webrtc.ConfigureTWCCHeaderExtensionSender(engine, registry))
}

func (m *media) trackOf(kind webrtc.RTPCodecType) *track {
	made := &track{kind: kind, isEchoed: m.isEchoed, seen: map[uint32]bool{}}
	made.report = trackReport{Event: "media", Kind: kind.String()}
	kept, _ := m.tracks.LoadOrStore(kind, made)
	return kept.(*track)
}

// add gives the connection a track of each kind, before an offer is made.
func (m *media) add() {
	for _, kind := range m.kinds {
		t := m.trackOf(kind)
		transceiver, err := m.connection.AddTransceiverFromTrack(t)
		must(err)
		go t.readFeedback(transceiver.Sender())
	}
}

// adopt gives each section of an offer that has come a track, before it is answered.
func (m *media) adopt() {
	for _, transceiver := range m.connection.GetTransceivers() {
		if transceiver.Sender() == nil && transceiver.Mid() != "" {
			t := m.trackOf(transceiver.Kind())
			sender, err := m.connection.AddTrack(t)
			must(err)
			go t.readFeedback(sender)
		}
	}
}

// came is told of each track of the other side.
func (m *media) came(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	t := m.trackOf(remote.Kind())
	t.Lock()
	t.report.Codec = remote.Codec().MimeType
	for _, transceiver := range m.connection.GetTransceivers() {
		if transceiver.Receiver() == receiver {
			t.report.MID = transceiver.Mid()
		}
	}
	told := t.report
	t.asking = func() {
		must(m.connection.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(remote.SSRC())}}))
		t.Lock()
		t.report.Asked++
		t.Unlock()
	}
	t.Unlock()
	told.Event = "track"
	tell(told)
	go t.readReports(receiver)
	if !m.isEchoed && t.kind == webrtc.RTPCodecTypeVideo {
		go func() {
			for range time.Tick(askEvery) {
				t.asking()
			}
		}()
	}
	for {
		packet, _, err := remote.ReadRTP()
		if err != nil {
			return
		}
		if m.isEchoed {
			t.Lock()
			t.report.Received++
			t.Unlock()
			header := packet.Header
			header.Extension, header.Extensions, header.Padding, header.CSRC = false, nil, false, nil
			t.write(&header, packet.Payload) // also without payload, of padding only: a gap would look like a loss
		} else {
			t.take(packet)
		}
	}
}

// connected sends what there is to send, once, and says what became of it.
func (m *media) connected() {
	if m.isEchoed {
		return
	}
	m.begin.Do(func() {
		go func() {
			var all sync.WaitGroup
			m.each(func(t *track) {
				all.Add(1)
				go func() {
					defer all.Done()
					t.send(m.packets, m.lasting)
				}()
			})
			all.Wait()
			time.Sleep(settling)
			m.tellAll()
		}()
	})
}

func (m *media) each(do func(*track)) {
	m.tracks.Range(func(_, t any) bool {
		do(t.(*track))
		return true
	})
}

func (m *media) tellAll() {
	m.each(func(t *track) {
		t.Lock()
		told := t.report
		t.Unlock()
		tell(told)
	})
}

// kindsOf reads "audio,video".
func kindsOf(text string) (kinds []webrtc.RTPCodecType) {
	for _, word := range strings.Split(text, ",") {
		if kind := webrtc.NewRTPCodecType(word); kind != 0 {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}
