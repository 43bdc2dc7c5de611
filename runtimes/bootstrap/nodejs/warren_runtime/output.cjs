'use strict';

// Standard output and error, synchronous and counted.
//
// Node.js would open the pipes as non-blocking sockets: what is still queued there is lost when the process is killed, and child
// processes that share the pipes get write errors. So both are replaced by streams that write at once. The bytes are counted because the
// last frame of a call carries a *mark*: how many bytes of output there have been since the start. The host waits for as many
// before it writes the END line. Child processes that inherit the streams are not counted; a mark may be too small, never too large.

const fs = require('node:fs');

const MARKS = 2 ** 32;

let written = 0;

const clock = new Int32Array(new SharedArrayBuffer(4));

/** Writes all of `text` or bytes to a descriptor. */
function write(fd, data) {
  const buffer = typeof data === 'string' ? Buffer.from(data, 'utf8') : data;
  let start = 0;
  while (start < buffer.length) {
    try {
      const count = fs.writeSync(fd, buffer, start);
      start += count;
      written += count;
    } catch (error) {
      if (error.code !== 'EAGAIN') {
        throw error;
      }
      // A child process has made the shared pipe non-blocking, and it is full.
      Atomics.wait(clock, 0, 0, 1);
    }
  }
}

function mark() {
  return written % MARKS;
}

function install() {
  replace('stdout', 1);
  replace('stderr', 2);
}

/** The stream is made when it is first asked for: most functions only use the console. */
function replace(name, fd) {
  let stream;
  Object.defineProperty(process, name, {
    configurable: true,
    enumerable: true,
    get: () => (stream ??= openStream(fd)),
  });
}

function openStream(fd) {
  const { Writable } = require('node:stream');
  const stream = new Writable({
    decodeStrings: true,
    write(chunk, _encoding, done) {
      try {
        write(fd, chunk);
        done();
      } catch (error) {
        done(error);
      }
    },
  });
  stream.fd = fd;
  stream._type = 'pipe';
  stream._isStdio = true;
  // As in Node.js: the standard streams can't be closed.
  stream.destroySoon = stream.destroy;
  stream._destroy = (error, done) => done(error);
  return stream;
}

module.exports = { install, mark, write };
