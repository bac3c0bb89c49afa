// Writes pion.txt: RTP and RTCP packets as Pion makes them, with what Pion's own parser says of each. With Debian's packages:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run make_pion.go > pion.txt
//
// With the argument "read" it answers lines of hexadecimal digits with what Pion reads from them, for make_written.py.
//
// The line "parsed" is in the words of Tests/RTPTests/Summary.swift.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func record(name string, data []byte, parsed string) {
	fmt.Printf("\nname: %s\nparsed = %s\nbytes =\n", name, parsed)
	for text := hex.EncodeToString(data); text != ""; {
		cut := 112
		if len(text) < cut {
			cut = len(text)
		}
		fmt.Println(text[:cut])
		text = text[cut:]
	}
}

func join(numbers []uint32) string {
	parts := make([]string, len(numbers))
	for i, n := range numbers {
		parts[i] = fmt.Sprint(n)
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func writeRTP(name string, packet rtp.Packet) {
	data, err := packet.Marshal()
	check(err)
	record(name, data, rtpSummary(data))
}

func rtpSummary(data []byte) string {
	var back rtp.Packet
	check(back.Unmarshal(data))
	var elements []string
	for _, id := range back.GetExtensionIDs() {
		elements = append(elements, fmt.Sprintf("%d:%x", id, back.GetExtension(id)))
	}
	marker := 0
	if back.Marker {
		marker = 1
	}
	return fmt.Sprintf("rtp m=%d pt=%d seq=%d ts=%d ssrc=%d csrcs=%s ext=[%s] padding=%d payload=%x", marker,
		back.PayloadType, back.SequenceNumber, back.Timestamp, back.SSRC, join(back.CSRC), strings.Join(elements, ","),
		back.PaddingSize, back.Payload)
}

func blocks(reports []rtcp.ReceptionReport) string {
	parts := make([]string, len(reports))
	for i, r := range reports {
		// Pion takes the 24 bits of the lost for unsigned.
		parts[i] = fmt.Sprintf("%d:%d:%d:%d:%d:%d:%d", r.SSRC, r.FractionLost, int32(r.TotalLost<<8)>>8, r.LastSequenceNumber, r.Jitter,
			r.LastSenderReport, r.Delay)
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func feedback(p *rtcp.TransportLayerCC) string {
	// One word for each packet: its delta in ticks, or "-".
	var words []string
	deltas := p.RecvDeltas
	take := func(symbol uint16) {
		if len(words) == int(p.PacketStatusCount) {
			return
		}
		if symbol == rtcp.TypeTCCPacketNotReceived {
			words = append(words, "-")
			return
		}
		words = append(words, fmt.Sprint(deltas[0].Delta/rtcp.TypeTCCDeltaScaleFactor))
		deltas = deltas[1:]
	}
	for _, chunk := range p.PacketChunks {
		switch c := chunk.(type) {
		case *rtcp.RunLengthChunk:
			for i := 0; i < int(c.RunLength); i++ {
				take(c.PacketStatusSymbol)
			}
		case *rtcp.StatusVectorChunk:
			for _, symbol := range c.SymbolList {
				take(symbol)
			}
		}
	}
	return fmt.Sprintf("tcc %d %d base=%d ref=%d count=%d [%s]", p.SenderSSRC, p.MediaSSRC, p.BaseSequenceNumber,
		p.ReferenceTime, p.FbPktCount, strings.Join(words, ","))
}

func writeRTCP(name string, packets ...rtcp.Packet) {
	data, err := rtcp.Marshal(packets)
	check(err)
	record(name, data, rtcpSummary(data))
}

func rtcpSummary(data []byte) string {
	back, err := rtcp.Unmarshal(data)
	check(err)
	var parts []string
	for _, packet := range back {
		switch p := packet.(type) {
		case *rtcp.SenderReport:
			parts = append(parts, fmt.Sprintf("sr %d %d %d %d %d %s", p.SSRC, p.NTPTime, p.RTPTime, p.PacketCount,
				p.OctetCount, blocks(p.Reports)))
		case *rtcp.ReceiverReport:
			parts = append(parts, fmt.Sprintf("rr %d %s", p.SSRC, blocks(p.Reports)))
		case *rtcp.SourceDescription:
			var chunks []string
			for _, c := range p.Chunks {
				var items []string
				for _, item := range c.Items {
					items = append(items, fmt.Sprintf("%d=%s", item.Type, item.Text))
				}
				chunks = append(chunks, fmt.Sprintf("%d:%s", c.Source, strings.Join(items, "+")))
			}
			parts = append(parts, "sdes ["+strings.Join(chunks, ",")+"]")
		case *rtcp.Goodbye:
			reason := "-"
			if p.Reason != "" {
				reason = p.Reason
			}
			parts = append(parts, fmt.Sprintf("bye %s %s", join(p.Sources), reason))
		case *rtcp.TransportLayerNack:
			var lost []uint32
			for i := range p.Nacks {
				for _, n := range p.Nacks[i].PacketList() {
					lost = append(lost, uint32(n))
				}
			}
			parts = append(parts, fmt.Sprintf("nack %d %d %s", p.SenderSSRC, p.MediaSSRC, join(lost)))
		case *rtcp.TransportLayerCC:
			parts = append(parts, feedback(p))
		case *rtcp.PictureLossIndication:
			parts = append(parts, fmt.Sprintf("pli %d %d", p.SenderSSRC, p.MediaSSRC))
		case *rtcp.FullIntraRequest:
			var entries []string
			for _, e := range p.FIR {
				entries = append(entries, fmt.Sprintf("%d:%d", e.SSRC, e.SequenceNumber))
			}
			parts = append(parts, fmt.Sprintf("fir %d [%s]", p.SenderSSRC, strings.Join(entries, ",")))
		case *rtcp.ReceiverEstimatedMaximumBitrate:
			parts = append(parts, fmt.Sprintf("remb %d %d %s", p.SenderSSRC, uint64(p.Bitrate), join(p.SSRCs)))
		case *rtcp.ExtendedReport, *rtcp.RawPacket:
			raw, err := packet.(interface{ Marshal() ([]byte, error) }).Marshal()
			check(err)
			parts = append(parts, fmt.Sprintf("other %d %d %x", raw[1], raw[0]&31, raw[4:]))
		default:
			panic(fmt.Sprintf("no words for %T", packet))
		}
	}
	return strings.Join(parts, "; ")
}

func withExtensions(header rtp.Header, profile uint16, values map[uint8][]byte, order ...uint8) rtp.Header {
	header.Extension = true
	header.ExtensionProfile = profile
	for _, id := range order {
		check(header.SetExtension(id, values[id]))
	}
	return header
}

// read answers each line of hexadecimal digits with what Pion reads from it.
func read() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, err := hex.DecodeString(lines.Text())
		check(err)
		if data[1] >= 192 && data[1] <= 223 {
			fmt.Println(rtcpSummary(data))
		} else {
			fmt.Println(rtpSummary(data))
		}
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "read" {
		read()
		return
	}
	fmt.Println("# RTP and RTCP packets made by Pion (Debian golang-github-pion-rtp-dev 1.7.13-1, golang-github-pion-rtcp-dev 1.2.10-1)")
	fmt.Println("# with make_pion.go beside this file; \"parsed\" is what Pion's own parser reads from them.")

	values := map[uint8][]byte{1: []byte("0"), 3: {0x12, 0x34}, 14: []byte("sixteen bytes ok"), 15: {9}, 200: {}, 255: make([]byte, 255)}
	base := rtp.Header{Version: 2, Marker: true, PayloadType: 102, SequenceNumber: 777, Timestamp: 4294967295, SSRC: 3735928559}
	writeRTP("rtp: one-byte form, ids 1, 3, 14", rtp.Packet{
		Header: withExtensions(base, 0xbede, values, 1, 3, 14), Payload: []byte{1, 2, 3, 4, 5}})
	writeRTP("rtp: two-byte form, ids 1, 15, 200 (empty), 255 (255 bytes)", rtp.Packet{
		Header: withExtensions(base, 0x1000, values, 1, 15, 200, 255), Payload: []byte("pay")})
	padded := base
	padded.Padding = true
	padded.CSRC = []uint32{6, 7, 8}
	writeRTP("rtp: contributing sources and padding", rtp.Packet{Header: padded, Payload: []byte("load"), PaddingSize: 12})

	report := rtcp.ReceptionReport{SSRC: 21, FractionLost: 3, TotalLost: 70000, LastSequenceNumber: 0x1fffe, Jitter: 17,
		LastSenderReport: 0x12345678, Delay: 99}
	name := &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{
		{Source: 20, Items: []rtcp.SourceDescriptionItem{{Type: 1, Text: "cname"}}}}}
	several := &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{
		{Source: 20, Items: []rtcp.SourceDescriptionItem{{Type: 1, Text: "four"}, {Type: 2, Text: "name"}, {Type: 8, Text: "\x03prevalue"}}},
		{Source: 22, Items: []rtcp.SourceDescriptionItem{{Type: 1, Text: "ab"}}},
		{Source: 23, Items: []rtcp.SourceDescriptionItem{{Type: 7, Text: ""}, {Type: 3, Text: "a@b"}}}}}
	sender := &rtcp.SenderReport{SSRC: 20, NTPTime: 0xda8bd1fcdddda05a, RTPTime: 0xaaf4edd5, PacketCount: 1, OctetCount: 2,
		Reports: []rtcp.ReceptionReport{report}}
	writeRTCP("rtcp: SR, SDES, BYE with a reason", sender, name, &rtcp.Goodbye{Sources: []uint32{20}, Reason: "camera off"})
	writeRTCP("rtcp: RR, SDES of three sources", &rtcp.ReceiverReport{SSRC: 20, Reports: []rtcp.ReceptionReport{report, report}}, several)
	writeRTCP("rtcp: NACK across the wrap", &rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: 2,
		Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{65530, 65535, 0, 9, 10, 11, 27, 28})})
	writeRTCP("rtcp: FIR of two", &rtcp.FullIntraRequest{SenderSSRC: 1, MediaSSRC: 2,
		FIR: []rtcp.FIREntry{{SSRC: 3, SequenceNumber: 255}, {SSRC: 4, SequenceNumber: 0}}})
	writeRTCP("rtcp: PLI, REMB", &rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 2},
		&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 1, Bitrate: 8927168, SSRCs: []uint32{1215622422}})
	writeRTCP("rtcp: XR, which is another's", &rtcp.ExtendedReport{SenderSSRC: 1, Reports: []rtcp.ReportBlock{
		&rtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: 0x0102030405060708}}})
	writeRTCP("rtcp: SLI, which is another's", &rtcp.SliceLossIndication{SenderSSRC: 1, MediaSSRC: 2,
		SLI: []rtcp.SLIEntry{{First: 1, Number: 2, Picture: 3}}})

	small := func(us int64) *rtcp.RecvDelta {
		return &rtcp.RecvDelta{Type: rtcp.TypeTCCPacketReceivedSmallDelta, Delta: us}
	}
	large := func(us int64) *rtcp.RecvDelta {
		return &rtcp.RecvDelta{Type: rtcp.TypeTCCPacketReceivedLargeDelta, Delta: us}
	}
	cc := func(words uint16, padding bool, base, count uint16, chunks []rtcp.PacketStatusChunk, deltas ...*rtcp.RecvDelta) *rtcp.TransportLayerCC {
		return &rtcp.TransportLayerCC{
			Header:     rtcp.Header{Padding: padding, Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback, Length: words},
			SenderSSRC: 1, MediaSSRC: 2, BaseSequenceNumber: base, PacketStatusCount: count, ReferenceTime: 4057090, FbPktCount: 23,
			PacketChunks: chunks, RecvDeltas: deltas}
	}
	run := func(symbol, length uint16) *rtcp.RunLengthChunk {
		return &rtcp.RunLengthChunk{Type: rtcp.TypeTCCRunLengthChunk, PacketStatusSymbol: symbol, RunLength: length}
	}
	vector := func(size uint16, symbols ...uint16) *rtcp.StatusVectorChunk {
		return &rtcp.StatusVectorChunk{Type: rtcp.TypeTCCStatusVectorChunk, SymbolSize: size, SymbolList: symbols}
	}
	writeRTCP("rtcp: transport-wide, a run of small deltas", cc(5, true, 153, 1, []rtcp.PacketStatusChunk{run(1, 1)}, small(37000)))
	writeRTCP("rtcp: transport-wide, a run of large deltas over the wrap",
		cc(6, false, 65535, 3, []rtcp.PacketStatusChunk{run(2, 3)}, large(-8192000), large(8191750), large(-250)))
	writeRTCP("rtcp: transport-wide, a one-bit vector cut by the count", cc(6, true, 10, 9, []rtcp.PacketStatusChunk{
		vector(0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0)}, small(0), small(250), small(63750), small(1000)))
	writeRTCP("rtcp: transport-wide, lost run, two-bit vector, run", cc(10, true, 40000, 120, []rtcp.PacketStatusChunk{
		vector(1, 1, 2, 0, 0, 2, 0, 1), run(0, 100), run(1, 5), vector(0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)},
		small(250), large(100000), large(-1000), small(500), small(0), small(0), small(0), small(250), small(250),
		small(750), small(1000)))
}
