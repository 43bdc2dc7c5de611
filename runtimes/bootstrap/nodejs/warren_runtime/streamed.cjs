'use strict';

// Handlers that write their answer: `awslambda.streamifyResponse(async (event, responseStream, context) => ...)`.
// Each write is a frame; the last one is sent when the stream has ended and the handler's promise is fulfilled.

const { Writable } = require('node:stream');

const { Calls, isThenable, parseEvent } = require('./calls.cjs');
const context = require('./context.cjs');
const { InvalidStreamingOperation } = require('./errors.cjs');
const { highWaterMark } = require('./streaming_api.cjs');
const output = require('./output.cjs');

const EMPTY = Buffer.alloc(0);

class ResponseStream extends Writable {
  #send;
  #started = false;

  constructor(send, options) {
    super(options);
    this.#send = send;
  }

  setContentType(_type) {
    if (this.#started) {
      throw new InvalidStreamingOperation('Cannot set content-type, too late.');
    }
  }

  /** As on Lambda, what is neither text nor bytes is written as JSON. */
  write(chunk, encoding, callback) {
    this.#start();
    const raw = typeof chunk === 'string' || chunk instanceof Uint8Array;
    return super.write(raw ? chunk : JSON.stringify(chunk), encoding, callback);
  }

  #start() {
    if (!this.#started) {
      this.#started = true;
      this._onBeforeFirstWrite?.((chunk) => super.write(chunk));
    }
  }

  end(...values) {
    this.#start();
    return super.end(...values);
  }

  _write(chunk, _encoding, done) {
    this.#send(chunk, done);
  }
}

class StreamedCalls extends Calls {
  constructor(handler, stream) {
    super(handler, stream);
    this.options = { highWaterMark: highWaterMark(handler) };
    process.on('beforeExit', () => {
      if (this.number) {
        this.fail(this.number, new Error('Response stream is not finished.'));
      }
    });
  }

  async run(number, meta, body) {
    const response = new ResponseStream((chunk, done) => this.#sendPart(number, chunk, done), this.options);
    // The handler learns of its own stream's errors by its listeners; without one they must not end the process.
    response.on('error', () => {});
    try {
      const finished = new Promise((resolve) => response.once('close', resolve));
      const promise = this.handler(parseEvent(body), response, context.fill({ callbackWaitsForEmptyEventLoop: true }, meta));
      if (!isThenable(promise)) {
        throw new Error('Streaming does not support non-async handlers.');
      }
      if ((await promise) !== undefined) {
        console.warn('Streaming handlers ignore return values.');
      }
      if (!response.writableEnded) {
        throw new Error('Response stream is not finished.');
      }
      await finished;
      if (response.errored) {
        throw response.errored;
      }
      if (this.number === number) {
        this.end();
        this.stream.respondBytes(number, EMPTY, output.mark());
      }
    } catch (error) {
      response.destroy();
      if (this.number === number) {
        this.fail(number, error);
      }
    }
  }

  #sendPart(number, chunk, done) {
    if (this.number !== number) {
      // Written after the call was over; there is nobody to read it.
      done();
      return;
    }
    this.stream.respondPart(number, chunk, done);
  }
}

module.exports = { StreamedCalls };
