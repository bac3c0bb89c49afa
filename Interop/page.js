// The browser's side of one test connection. The driver calls `peer.…`; `signal(text)` is the way back to it.
"use strict";

let peer = null;

/** Ends a promise that would otherwise wait for ever. */
function within(milliseconds, what, promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: nothing in ${milliseconds} ms`)), milliseconds);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Values that arrive before or after somebody waits for them, in order. */
class Inbox {
  values = [];
  waiting = [];
  put(value) {
    const first = this.waiting.shift();
    first ? first(value) : this.values.push(value);
  }
  take() {
    return this.values.length > 0
      ? Promise.resolve(this.values.shift())
      : new Promise((resolve) => this.waiting.push(resolve));
  }
}

class Peer {
  messages = new Inbox();
  channels = new Inbox();
  errors = [];
  remoteIsSet = null;
  endOfCandidatesSent = false;

  /** @param {number} number tells this connection's signals from those of earlier ones */
  constructor(number) {
    this.number = number;
    this.connection = new RTCPeerConnection();
    this.steps = Promise.resolve();
    this.remoteReady = new Promise((resolve) => (this.remoteIsSet = resolve));
    this.connection.onicecandidate = ({ candidate }) => {
      if (candidate) {
        this.endOfCandidatesSent ||= candidate.candidate === "";
        const { sdpMid, sdpMLineIndex } = candidate;
        this.tell({ candidate: candidate.candidate, sdpMid, sdpMLineIndex });
      } else if (!this.endOfCandidatesSent) {
        this.tell({ candidate: "", sdpMid: "0", sdpMLineIndex: 0 });
      }
    };
    this.connection.ondatachannel = ({ channel }) => this.adopt(channel);
    this.connection.onconnectionstatechange = () => this.tell({ state: this.connection.connectionState });
  }

  tell(value) {
    signal(JSON.stringify({ peer: this.number, value }));
  }

  adopt(channel) {
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = 1 << 20;
    channel.onmessage = ({ data }) => this.messages.put(data);
    channel.closed = new Promise((resolve) => (channel.onclose = resolve));
    channel.opened = new Promise((resolve) => (channel.onopen = resolve));
    if (channel.readyState === "open") channel.opened = Promise.resolve();
    this.channel = channel;
    this.channels.put(channel);
  }

  async offer(label, options) {
    this.adopt(this.connection.createDataChannel(label, options));
    await this.connection.setLocalDescription(await this.connection.createOffer());
    this.tell(this.connection.localDescription.toJSON());
  }

  /** A description or candidate from the other side; one after the other, whatever order they come in. */
  receive(value) {
    const step = value.type ? this.describe(value) : this.remoteReady.then(() => this.connection.addIceCandidate(value));
    step.catch((error) => {
      this.errors.push(String(error));
      this.tell({ error: String(error) });
    });
  }

  async describe(description) {
    await this.connection.setRemoteDescription(description);
    this.remoteIsSet();
    if (description.type === "offer") {
      await this.connection.setLocalDescription(await this.connection.createAnswer());
      this.tell(this.connection.localDescription.toJSON());
    }
  }

  async opened(milliseconds) {
    const channel = await within(milliseconds, "the channel", this.channels.take());
    await within(milliseconds, "its opening", channel.opened);
    const { label, id, ordered, maxRetransmits, protocol } = channel;
    return { label, id, ordered, maxRetransmits, protocol };
  }

  sendText(text) {
    this.channel.send(text);
  }

  sendBinary(base64) {
    this.channel.send(bytesFrom(base64));
  }

  /** The next message as `{text}` or `{base64}`. */
  async next(milliseconds) {
    const data = await within(milliseconds, "a message", this.messages.take());
    return typeof data === "string" ? { text: data } : { base64: base64From(new Uint8Array(data)) };
  }

  /** Sends `count` numbered messages of growing and shrinking size, and checks that all come back in order. */
  async volley(count, largest, milliseconds) {
    const channel = this.channel;
    const deadline = performance.now() + milliseconds;
    const sizeOf = (number) => 4 + ((number * 7919) % largest);
    const checking = (async () => {
      for (let number = 0; number < count; number += 1) {
        const data = await within(deadline - performance.now(), `message ${number}`, this.messages.take());
        if (data.byteLength !== sizeOf(number)) return `message ${number} has ${data.byteLength} bytes`;
        const bytes = new Uint8Array(data);
        if (new DataView(data).getUint32(0) !== number) return `message ${number} is another`;
        if (bytes.subarray(4).some((byte) => byte !== (number & 255))) return `message ${number} is damaged`;
      }
      return "";
    })();
    for (let number = 0; number < count; number += 1) {
      const bytes = new Uint8Array(sizeOf(number)).fill(number & 255);
      new DataView(bytes.buffer).setUint32(0, number);
      channel.send(bytes);
      if (channel.bufferedAmount > 4 << 20) {
        const low = new Promise((resolve) => (channel.onbufferedamountlow = resolve));
        await within(deadline - performance.now(), "room to send", low);
      }
    }
    return checking;
  }

  async closed(milliseconds) {
    await within(milliseconds, "the close", this.channel.closed);
    return this.channel.readyState;
  }

  end() {
    this.connection.close();
  }
}

function bytesFrom(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function base64From(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}
