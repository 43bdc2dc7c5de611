'use strict';

// The call stream: frames of the sandbox protocol, version 1, on a descriptor.
//
// Latency decides the form. The socket reads into one buffer (`onread`) and hands a small call over in one callback, without the
// stream machinery; a small answer is put together in one buffer and written at once by a plain system call. Only what the
// socket's buffer does not take goes through the socket.

const fs = require('node:fs');
const net = require('node:net');

const MAX_PAYLOAD = 1_048_576;
const HEADER_SIZE = 16;
const END = 1;

const READY = 0x50;
const INIT_ERROR = 0x51;
const STANDBY = 0x52;
const INIT = 0x53;
const INVOKE = 0x60;
const BODY = 0x61;
const RESPONSE = 0x70;
const ERROR = 0x71;

const BUFFER_SIZE = 65_536;
// UTF-8 needs at most three bytes for each UTF-16 unit.
const MAX_SMALL_TEXT = Math.floor((BUFFER_SIZE - HEADER_SIZE) / 3);
const EMPTY = Buffer.alloc(0);

class CallStream {
  #fd;
  #socket;
  #onCall;
  #onInit = null;
  #received = [];
  #receivedSize = 0;
  #wanted = HEADER_SIZE;
  #call = null;
  #out = Buffer.allocUnsafeSlow(BUFFER_SIZE);

  constructor(fd) {
    this.#fd = fd;
  }

  /** Starts to read; `onCall(number, meta, body)` gets each call, both texts JSON. */
  open(onCall) {
    this.#onCall = onCall;
    if (this.#socket) {
      this.hold();
    } else {
      this.#listen({ fd: this.#fd });
    }
  }

  /** Says that this process waits; the payload of INIT, as text. */
  standby() {
    const init = this.#init({ fd: this.#fd });
    this.#write(frame(STANDBY, 0, 0, EMPTY, 0));
    return init;
  }

  /** Closes the stream before anything was read from it; `adopt` gives it another. */
  letGo() {
    fs.closeSync(this.#fd);
  }

  /** Goes on with another stream; the payload of INIT that comes over it, as text. */
  adopt(handle) {
    this.#fd = handle.fd;
    return this.#init({ handle });
  }

  #init(source) {
    return new Promise((resolve) => {
      this.#onInit = resolve;
      this.#listen(source);
    });
  }

  #listen(source) {
    this.#socket = new net.Socket({
      ...source,
      readable: true,
      writable: true,
      onread: {
        buffer: Buffer.allocUnsafeSlow(BUFFER_SIZE),
        callback: (size, buffer) => {
          this.#read(buffer, size);
          return true;
        },
      },
    });
    this.#socket.on('end', () => process.exit(0));
    this.#socket.on('error', () => process.exit(1));
  }

  /** Between calls the stream keeps the process alive. */
  hold() {
    this.#socket.ref();
  }

  /** During a call it does not, so that Node.js notices when the function has nothing left to do. */
  release() {
    this.#socket.unref();
  }

  ready() {
    this.#write(frame(READY, 0, 0, EMPTY, 0));
  }

  initErrorAndExit(payload, code) {
    this.#writeAndExit(frame(INIT_ERROR, 0, 0, payload, 0), code);
  }

  /** The whole answer, as text. */
  respond(call, text, mark) {
    if (text.length > MAX_SMALL_TEXT) {
      this.respondBytes(call, Buffer.from(text, 'utf8'), mark);
      return;
    }
    const out = this.#out;
    const size = out.write(text, HEADER_SIZE, 'utf8');
    putHeader(out, size, RESPONSE, END, call, mark);
    this.#write(out, HEADER_SIZE + size);
  }

  /** The whole answer, or its last part. */
  respondBytes(call, bytes, mark, done) {
    let start = 0;
    for (; bytes.length - start > MAX_PAYLOAD; start += MAX_PAYLOAD) {
      this.#write(frame(RESPONSE, 0, call, bytes.subarray(start, start + MAX_PAYLOAD), 0));
    }
    this.#write(frame(RESPONSE, END, call, bytes.subarray(start), mark), undefined, done);
  }

  /** A part of an answer with more to come; `done` is called when the next may follow. */
  respondPart(call, bytes, done) {
    for (let start = 0; start < bytes.length; start += MAX_PAYLOAD) {
      const end = Math.min(start + MAX_PAYLOAD, bytes.length);
      this.#write(frame(RESPONSE, 0, call, bytes.subarray(start, end), 0), undefined, end === bytes.length ? done : undefined);
    }
    if (bytes.length === 0) {
      done();
    }
  }

  fail(call, payload, mark) {
    this.#write(frame(ERROR, END, call, payload, mark));
  }

  failAndExit(call, payload, mark, code) {
    this.#writeAndExit(frame(ERROR, END, call, payload, mark), code);
  }

  /** A call that came in one read, as nearly all do, is taken straight from the buffer. */
  #read(buffer, size) {
    if (this.#receivedSize === 0 && size > HEADER_SIZE && size === HEADER_SIZE + buffer.readUInt32LE(0)) {
      if (this.#call === null && buffer[4] === INVOKE && buffer[5] === END) {
        const meta = HEADER_SIZE + 4;
        const body = meta + buffer.readUInt32LE(HEADER_SIZE);
        this.#onCall(buffer.readUInt32LE(8), buffer.utf8Slice(meta, body), buffer.utf8Slice(body, size));
        return;
      }
    }
    this.#received.push(Buffer.from(buffer.subarray(0, size)));
    this.#receivedSize += size;
    this.#takeFrames();
  }

  /** Puts together frames that came in pieces, and calls that came in several frames. */
  #takeFrames() {
    while (this.#receivedSize >= this.#wanted) {
      const data = this.#received.length === 1 ? this.#received[0] : Buffer.concat(this.#received);
      this.#received = [data];
      const length = data.readUInt32LE(0);
      const expected = this.#expected();
      if (data[4] !== expected || length > MAX_PAYLOAD || (data[5] & ~END) !== 0) {
        throw new Error(`protocol error: frame of kind ${data[4]}, flags ${data[5]}, length ${length}`);
      }
      const size = HEADER_SIZE + length;
      if (data.length < size) {
        // Joined only once it is whole: a frame of 1 MiB comes in many pieces.
        this.#wanted = size;
        return;
      }
      this.#received = data.length > size ? [data.subarray(size)] : [];
      this.#receivedSize = data.length - size;
      this.#wanted = HEADER_SIZE;
      this.#takeFrame(data.subarray(0, size));
    }
  }

  #expected() {
    if (this.#onInit) {
      return INIT;
    }
    return this.#call === null ? INVOKE : BODY;
  }

  #takeFrame(data) {
    if (this.#onInit) {
      const onInit = this.#onInit;
      this.#onInit = null;
      // Node.js notices then when the function's Init has nothing left to do.
      this.release();
      onInit(data.utf8Slice(HEADER_SIZE));
      return;
    }
    if (this.#call === null) {
      const body = HEADER_SIZE + 4 + data.readUInt32LE(HEADER_SIZE);
      this.#call = { number: data.readUInt32LE(8), meta: data.utf8Slice(HEADER_SIZE + 4, body), parts: [data.subarray(body)] };
    } else {
      this.#call.parts.push(data.subarray(HEADER_SIZE));
    }
    if (data[5] & END) {
      const { number, meta, parts } = this.#call;
      this.#call = null;
      this.#onCall(number, meta, Buffer.concat(parts).toString('utf8'));
    }
  }

  #write(buffer, size = buffer.length, done) {
    let written = 0;
    if (!this.#socket || this.#socket.writableLength === 0) {
      written = tryWrite(this.#fd, buffer, 0, size);
      if (written === size) {
        done?.();
        return;
      }
    }
    // The shared buffer is used again before the socket is done with it.
    const rest = buffer.subarray(written, size);
    this.#socket.write(buffer === this.#out ? Buffer.from(rest) : rest, done);
  }

  #writeAndExit(buffer, code) {
    if (this.#socket?.writableLength) {
      this.#socket.write(buffer, () => process.exit(code));
      return;
    }
    for (let written = 0; written < buffer.length; ) {
      const count = tryWrite(this.#fd, buffer, written, buffer.length);
      written += count;
      if (count === 0) {
        pause();
      }
    }
    process.exit(code);
  }
}

/** The number of bytes that were taken; 0 if the other side has to read first. */
function tryWrite(fd, buffer, start, end) {
  try {
    return fs.writeSync(fd, buffer, start, end - start);
  } catch (error) {
    if (error.code === 'EAGAIN') {
      return 0;
    }
    // The host has gone, and with it the reason to go on.
    process.exit(1);
  }
}

const clock = new Int32Array(new SharedArrayBuffer(4));

function pause() {
  Atomics.wait(clock, 0, 0, 1);
}

function frame(kind, flags, call, payload, mark) {
  const buffer = Buffer.allocUnsafe(HEADER_SIZE + payload.length);
  putHeader(buffer, payload.length, kind, flags, call, mark);
  payload.copy(buffer, HEADER_SIZE);
  return buffer;
}

function putHeader(buffer, length, kind, flags, call, mark) {
  buffer.writeUInt32LE(length, 0);
  buffer[4] = kind;
  buffer[5] = flags;
  buffer[6] = 0;
  buffer[7] = 0;
  buffer.writeUInt32LE(call, 8);
  buffer.writeUInt32LE(mark, 12);
}

module.exports = { CallStream, MAX_PAYLOAD };
