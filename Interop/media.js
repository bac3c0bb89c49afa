// The browser's side of a connection with audio and video beside the data channel, or without one.
"use strict";

// The fake camera draws a moving figure and the time, the fake microphone beeps. One stream serves every connection.
const camera = () => (camera.stream ??= navigator.mediaDevices.getUserMedia({
  audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false }, // an echo is what we want
  video: { width: 320, height: 240, frameRate: 30 },
}));

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

class MediaPeer extends Peer {
  screens = [];
  chatter = null;

  /**
   * @param {number} number tells this connection's signals from those of earlier ones
   * @param {{kinds: string[], codec?: string, data?: boolean, layers?: boolean}} plan what this side offers; it answers to all it is offered
   */
  constructor(number, plan) {
    super(number);
    this.plan = plan;
    this.connection.ontrack = ({ track, transceiver }) => this.show(track, transceiver);
  }

  /** Whoever receives must also look and listen: without, the browser may spare itself the decoding. */
  show(track, transceiver) {
    const screen = document.createElement(track.kind);
    screen.autoplay = true;
    screen.srcObject = new MediaStream([track]);
    screen.play().catch(() => {});
    document.body.append(screen);
    this.screens.push({ screen, mid: transceiver.mid, kind: track.kind });
  }

  async send(transceiver) {
    const kind = transceiver.receiver.track.kind;
    const track = (await camera()).getTracks().find((track) => track.kind === kind);
    await transceiver.sender.replaceTrack(track.clone());
    transceiver.direction = "sendrecv";
    if (kind === "video" && this.plan.codec) {
      const { codecs } = RTCRtpReceiver.getCapabilities("video");
      const wanted = codecs.filter(({ mimeType }) => mimeType === `video/${this.plan.codec}`);
      const repairs = codecs.filter(({ mimeType }) => /\/(rtx|red|ulpfec)$/.test(mimeType));
      transceiver.setCodecPreferences([...wanted, ...repairs]);
    }
  }

  async offer(label, options) {
    const layers = [{ rid: "whole" }, { rid: "half", scaleResolutionDownBy: 2 }];
    for (const kind of this.plan.kinds) {
      const isLayered = this.plan.layers && kind === "video";
      await this.send(this.connection.addTransceiver(kind, isLayered ? { sendEncodings: layers } : {}));
    }
    if (this.plan.data) this.adopt(this.connection.createDataChannel(label, options));
    await this.negotiate();
  }

  async negotiate() {
    await this.connection.setLocalDescription(await this.connection.createOffer());
    this.tell(this.connection.localDescription.toJSON());
  }

  /** A track that comes later, with another offer. */
  async add(kind) {
    const transceiver = this.connection.addTransceiver(kind);
    await this.send(transceiver);
    await this.negotiate();
    await this.settled();
  }

  async settled() {
    while (this.connection.signalingState !== "stable") await pause(10);
  }

  /** Another offer in which nothing is sent either way, or everything again. */
  async hold(isHeld) {
    for (const transceiver of this.connection.getTransceivers()) {
      transceiver.direction = isHeld ? "inactive" : "sendrecv";
    }
    await this.negotiate();
    await this.settled();
  }

  /** How many packets of media come in a while. */
  async packetsIn(milliseconds) {
    const received = ({ audio, video }) => (audio.packetsReceived ?? 0) + (video.packetsReceived ?? 0);
    const before = await this.counts();
    await pause(milliseconds);
    return received(await this.counts()) - received(before);
  }

  async describe(description) {
    await this.connection.setRemoteDescription(description);
    this.remoteIsSet();
    if (description.type === "offer") {
      for (const transceiver of this.connection.getTransceivers()) {
        if (!transceiver.sender.track) await this.send(transceiver);
      }
      await this.connection.setLocalDescription(await this.connection.createAnswer());
      this.tell(this.connection.localDescription.toJSON());
    }
  }

  /** Sums over the streams of each kind, and what is known of the transport. */
  async counts() {
    const all = { at: performance.now(), audio: {}, video: {} };
    const codecs = {};
    const report = await this.connection.getStats();
    report.forEach((one) => {
      if (one.type === "codec") codecs[one.id] = one.mimeType;
    });
    report.forEach((one) => {
      const sums = all[one.kind];
      const add = (prefix, names) => {
        for (const name of names) sums[prefix + name] = (sums[prefix + name] ?? 0) + (one[name] ?? 0);
      };
      switch (one.type) {
        case "outbound-rtp":
          add("", ["framesSent", "packetsSent", "keyFramesEncoded", "retransmittedPacketsSent"]);
          add("", ["pliCount", "firCount", "nackCount"]);
          sums.codec = codecs[one.codecId];
          break;
        case "inbound-rtp":
          add("", [
            "framesDecoded", "keyFramesDecoded", "freezeCount", "packetsReceived", "packetsLost",
            "retransmittedPacketsReceived", "totalSamplesReceived", "concealedSamples", "totalAudioEnergy",
          ]);
          add("own", ["pliCount", "firCount", "nackCount"]);
          sums.codecReturned = codecs[one.codecId];
          break;
        case "remote-inbound-rtp": // the other side's receiver reports
          sums.receiverReports = one.roundTripTimeMeasurements ?? 0;
          sums.roundTripTime = one.roundTripTime;
          break;
        case "remote-outbound-rtp": // its sender reports
          sums.senderReports = one.reportsSent ?? 1;
          break;
        case "transport":
          all.transport = { srtpCipher: one.srtpCipher, dtlsRole: one.dtlsRole };
          all.transports = (all.transports ?? 0) + 1;
          break;
      }
    });
    return all;
  }

  /** The first moment at which every kind is being decoded. */
  async flows(kinds, milliseconds) {
    const began = performance.now();
    for (;;) {
      const counts = await this.counts();
      const isThere = { video: counts.video.framesDecoded > 0, audio: counts.audio.totalAudioEnergy > 0 };
      if (kinds.every((kind) => isThere[kind])) return { ...counts, waited: performance.now() - began };
      if (performance.now() - began > milliseconds) throw new Error(`nothing to see: ${JSON.stringify(counts)}`);
      await pause(20);
    }
  }

  /** Messages that come back while the media flow, one after the other. */
  converse() {
    const state = { sent: 0, received: 0, fault: "", over: false };
    this.chatter = state;
    const channel = this.channel;
    state.done = (async () => {
      while (!state.over) {
        const bytes = new Uint8Array(4 + ((state.sent * 7919) % 20_000)).fill(state.sent & 255);
        new DataView(bytes.buffer).setUint32(0, state.sent);
        channel.send(bytes);
        state.sent += 1;
        const back = new Uint8Array(await within(5000, `message ${state.sent}`, this.messages.take()));
        const isSame = back.length === bytes.length && back.every((byte, at) => byte === bytes[at]);
        if (!isSame) throw new Error(`message ${state.sent} has changed`);
        state.received += 1;
        await pause(10);
      }
    })().catch((error) => (state.fault = String(error)));
  }

  async conversation() {
    this.chatter.over = true;
    await this.chatter.done;
    const { sent, received, fault } = this.chatter;
    return { sent, received, fault };
  }

  /** Lets the media flow for a while, then ends what is sent, and waits for the last to come back, if it does. */
  async watch(milliseconds, patience) {
    const before = await this.counts();
    await pause(milliseconds);
    const middle = await this.counts();
    for (const { sender } of this.connection.getTransceivers()) {
      sender.track?.stop();
      await sender.replaceTrack(null);
    }
    const hasAll = ({ audio, video }) =>
      (video.framesDecoded ?? 0) >= (video.framesSent ?? 0) && (audio.packetsReceived ?? 0) >= (audio.packetsSent ?? 0);
    let after;
    for (let waited = 0; waited < patience && !(after && hasAll(after)); waited += 100) {
      await pause(100);
      after = await this.counts();
    }
    return { before, middle, after };
  }

  /** Asks whoever sends the video for keyframes, `count` times, as a decoder does that has lost its way. */
  async askForKeyframes(count, interval) {
    const work = `onrtctransform = ({ transformer }) => {
      transformer.readable.pipeTo(transformer.writable);
      onmessage = () =>
        transformer.sendKeyFrameRequest().then(() => postMessage(""), (error) => postMessage(String(error)));
    };`;
    const worker = new Worker(URL.createObjectURL(new Blob([work], { type: "text/javascript" })));
    const { receiver } = this.connection.getTransceivers().find(({ receiver }) => receiver.track.kind === "video");
    receiver.transform = new RTCRtpScriptTransform(worker, {});
    await pause(interval);
    const before = await this.counts();
    for (let number = 0; number < count; number += 1) {
      const answer = new Promise((resolve) => (worker.onmessage = ({ data }) => resolve(data)));
      worker.postMessage(0);
      const fault = await within(5000, "the request for a keyframe", answer);
      if (fault) throw new Error(fault);
      await pause(interval);
    }
    return { before, after: await this.counts() };
  }

  /** How much the pictures that return are like those sent: the mean difference, and how much either has to show. */
  async compare() {
    const own = document.createElement("video");
    own.muted = true;
    own.srcObject = new MediaStream((await camera()).getVideoTracks());
    await own.play();
    const pixels = async (screen) => {
      const canvas = new OffscreenCanvas(32, 24).getContext("2d", { willReadFrequently: true });
      canvas.drawImage(screen, 0, 0, 32, 24);
      return canvas.getImageData(0, 0, 32, 24).data.filter((_, at) => at % 4 < 3);
    };
    await pause(100);
    const returned = this.screens.find(({ kind }) => kind === "video").screen;
    const [one, two] = [await pixels(own), await pixels(returned)];
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const spread = (values) => Math.sqrt(mean(Array.from(values, (value) => (value - mean(values)) ** 2)));
    const difference = mean(Array.from(one, (value, at) => Math.abs(value - two[at])));
    return { difference, spread: spread(one), returned: spread(two) };
  }

  codecs() {
    return [...new Set(RTCRtpSender.getCapabilities("video").codecs.map(({ mimeType }) => mimeType.slice(6)))];
  }

  end() {
    for (const { sender } of this.connection.getTransceivers()) sender.track?.stop();
    for (const { screen } of this.screens) screen.remove();
    super.end();
  }
}
