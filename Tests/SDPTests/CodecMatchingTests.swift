// CodecMatchingTests.swift — which codecs of an offer are ours (RFC 3264 §6.1, RFC 6184 §8.2.2, RFC 4588 §8).

import SDP
import Testing

@Suite struct CodecMatchingTests {
  private static func codec(
    _ type: UInt8, _ name: String, _ clockRate: UInt32 = 90_000, channels: Int = 1, _ parameters: String = ""
  ) -> SDPCodec {
    SDPCodec(payloadType: type, name: name, clockRate: clockRate, channels: channels, parameters: parameters)
  }

  private static func codec(_ type: UInt8, _ name: String, _ parameters: String) -> SDPCodec {
    codec(type, name, 90_000, parameters)
  }

  @Test("name without case, clock rate, channels")
  func names() {
    let ours = [Self.codec(111, "opus", 48_000, channels: 2), Self.codec(0, "PCMU", 8_000)]
    func types(_ offered: SDPCodec...) -> [UInt8] {
      SDPCodec.matching(offered: offered, ours: ours).map(\.payloadType)
    }
    #expect(types(Self.codec(109, "OPUS", 48_000, channels: 2)) == [109])
    #expect(types(Self.codec(109, "opus", 48_000)) == [], "one channel")
    #expect(types(Self.codec(109, "opus", 16_000, channels: 2)) == [])
    #expect(types(Self.codec(7, "pcmu", 8_000), Self.codec(9, "opus", 48_000, channels: 2)) == [9, 7], "our order")
    #expect(types() == [] && types(Self.codec(1, "G722", 8_000)) == [])
    let twice = SDPCodec.matching(offered: [Self.codec(0, "PCMU", 8_000)], ours: ours + ours)
    #expect(twice.map(\.payloadType) == [0], "no number twice")
  }

  @Test(
    "H.264: packetization mode and profile",
    arguments: [
      ("packetization-mode=1;profile-level-id=42e01f", true), ("packetization-mode=1;profile-level-id=42E01F", true),
      ("profile-level-id=42e01f; packetization-mode=1", true), ("packetization-mode=1;profile-level-id=42c01f", true),
      ("packetization-mode=1;profile-level-id=4d801f", true), ("packetization-mode=1;profile-level-id=58c01f", true),
      ("packetization-mode=1;profile-level-id=42e034", true), ("packetization-mode=0;profile-level-id=42e01f", false),
      ("profile-level-id=42e01f", false), ("packetization-mode=1;profile-level-id=42001f", false),
      ("packetization-mode=1;profile-level-id=4d001f", false), ("packetization-mode=1;profile-level-id=64001f", false),
      ("packetization-mode=1", false), ("packetization-mode=1;profile-level-id=zz", false), ("", false),
    ])
  func h264(parameters: String, isOurs: Bool) {
    let matching = SDPCodec.matching(
      offered: [Self.codec(100, "H264", parameters)], ours: [Self.codec(102, "H264", Media.h264)])
    #expect(matching.map(\.payloadType) == (isOurs ? [100] : []), "\(parameters)")
  }

  @Test("H.264: absent parameters mean baseline, level 1, one NAL unit per packet")
  func h264Defaults() {
    let ours = [Self.codec(102, "H264", "profile-level-id=42001f;packetization-mode=0")]
    #expect(SDPCodec.matching(offered: [Self.codec(100, "H264")], ours: ours).count == 1)
    // Without parameters of our own we pass on whatever comes.
    let any = SDPCodec.matching(offered: [Self.codec(100, "H264", Media.h264)], ours: [Self.codec(102, "H264")])
    #expect(any.map(\.parameters) == [Media.h264])
  }

  @Test(
    "H.264: the lower level, unless both let the levels differ",
    arguments: [
      ("42e01f", "42e00d", false, "42e00d"), ("42e00d", "42e01f", false, "42e00d"),
      ("42e01f", "42e00d", true, "42e01f"), ("42e00d", "42e01f", true, "42e00d"),
      ("42f00b", "42e00b", false, "42f00b"), ("42e00a", "42f00b", false, "42e00a"),
    ])
  func h264Levels(ours: String, theirs: String, isAsymmetric: Bool, expected: String) {
    let asymmetry = isAsymmetric ? "level-asymmetry-allowed=1;" : ""
    let answer = SDPCodec.matching(
      offered: [Self.codec(100, "H264", "\(asymmetry)packetization-mode=1;profile-level-id=\(theirs)")],
      ours: [
        Self.codec(102, "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=\(ours);max-fs=8")
      ])
    #expect(answer.map(\.parameters) == ["\(asymmetry)packetization-mode=1;profile-level-id=\(expected);max-fs=8"])
  }

  @Test("VP9, AV1 and H.265 have profiles, with defaults")
  func profiles() {
    func isOurs(_ name: String, _ theirs: String, _ ours: String) -> Bool {
      !SDPCodec.matching(offered: [Self.codec(100, name, theirs)], ours: [Self.codec(98, name, ours)]).isEmpty
    }
    #expect(isOurs("VP9", "", "profile-id=0") && isOurs("VP9", "profile-id=0", "") && isOurs("VP9", "", ""))
    #expect(!isOurs("VP9", "profile-id=2", "profile-id=0") && !isOurs("VP9", "profile-id=2", ""))
    #expect(isOurs("VP9", "max-fs=12288;max-fr=60", "profile-id=0") && isOurs("VP9", "profile-id=2", "profile-id=2"))
    #expect(
      isOurs("AV1", "level-idx=9;profile=0;tier=1", "level-idx=5;profile=0;tier=0") && isOurs("AV1", "", "profile=0"))
    #expect(!isOurs("AV1", "profile=1", "profile=0"))
    #expect(isOurs("H265", "level-id=93", "profile-id=1") && !isOurs("H265", "profile-id=2", "profile-id=1"))
    #expect(!isOurs("H265", "tx-mode=MRST", ""))
    #expect(isOurs("VP8", "max-fs=1", "max-fs=2"))
  }

  @Test("retransmission comes with its codec, when we want it for that one")
  func retransmission() {
    let offered = [
      Self.codec(120, "VP8"), Self.codec(124, "rtx", "apt=120"), Self.codec(121, "VP9"),
      Self.codec(125, "rtx", "apt=121"),
      Self.codec(126, "rtx", "apt=99"), Self.codec(127, "rtx"),
    ]
    func types(_ ours: SDPCodec...) -> [UInt8] {
      SDPCodec.matching(offered: offered, ours: ours).map(\.payloadType)
    }
    #expect(types(Self.codec(96, "VP8"), Self.codec(97, "rtx", "apt=96")) == [120, 124])
    #expect(types(Self.codec(97, "rtx", "apt=96"), Self.codec(96, "VP8")) == [120, 124], "in any order")
    #expect(types(Self.codec(96, "VP8")) == [120])
    #expect(types(Self.codec(96, "VP8"), Self.codec(98, "VP9"), Self.codec(97, "rtx", "apt=98")) == [120, 121, 125])
    #expect(types(Self.codec(96, "VP8"), Self.codec(98, "VP9"), Self.codec(97, "rtx")) == [120, 124, 121, 125])
    #expect(types(Self.codec(97, "rtx", "apt=96")) == [], "not alone")
    let answer = SDPCodec.matching(
      offered: offered, ours: [Self.codec(96, "VP8"), Self.codec(97, "rtx", "apt=96;x=1")])
    #expect(answer[1].parameters == "apt=120")
  }

  @Test("what accompanies others is taken when we name it, and never alone")
  func companions() {
    let offered = [
      Self.codec(111, "opus", 48_000, channels: 2), Self.codec(63, "red", 48_000, channels: 2, "111/111"),
      Self.codec(13, "CN", 8_000), Self.codec(110, "telephone-event", 48_000),
      Self.codec(126, "telephone-event", 8_000),
    ]
    let opus = Self.codec(96, "opus", 48_000, channels: 2)
    func types(_ ours: SDPCodec...) -> [UInt8] {
      SDPCodec.matching(offered: offered, ours: ours).map(\.payloadType)
    }
    #expect(types(opus) == [111])
    #expect(types(opus, Self.codec(97, "red", 48_000, channels: 2, "96/96")) == [111, 63])
    #expect(types(opus, Self.codec(101, "telephone-event", 8_000), Self.codec(13, "CN", 8_000)) == [111, 126, 13])
    #expect(types(Self.codec(13, "CN", 8_000)) == [])
    let video = [
      Self.codec(96, "VP8"), Self.codec(118, "red"), Self.codec(120, "ulpfec"), Self.codec(35, "flexfec-03"),
    ]
    #expect(
      SDPCodec.matching(offered: video, ours: [Self.codec(1, "VP8"), Self.codec(2, "ulpfec")]).map(\.name) == [
        "VP8", "ulpfec",
      ])
    let foreign = [Self.codec(96, "opus", 48_000, channels: 2), Self.codec(63, "red", 48_000, channels: 2, "9/9")]
    #expect(
      SDPCodec.matching(offered: foreign, ours: [opus, Self.codec(97, "red", 48_000, channels: 2, "96/96")]).count == 1,
      "red of a codec that is not taken")
  }

  @Test("feedback is what both have")
  func feedback() {
    var offered = Self.codec(96, "VP8")
    offered.feedback = ["nack", "nack pli", "ccm fir", "x"]
    var ours = Self.codec(100, "VP8")
    ours.feedback = ["transport-cc", "nack pli", "nack"]
    #expect(SDPCodec.matching(offered: [offered], ours: [ours])[0].feedback == ["nack", "nack pli"])
  }
}
