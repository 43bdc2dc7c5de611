'use strict';

// A process of which a checkpoint is taken once Init is over: it lets its call stream go, and each restored copy goes on with another, which comes over
// Node.js's own channel to a parent process: nothing else takes descriptors.
//
// Copies would go on with the same random numbers too, so each gets new ones before anything of the function runs in it.

const crypto = require('node:crypto');
const path = require('node:path');

// Bytes and numbers that Node.js has drawn in advance for `randomUUID` and `randomInt`.
const UUIDS_KEPT = 128;
const INTEGERS_KEPT = 1024;

// The channel is the runtime's own: to the function this process has no parent, as on Lambda.
const channel = new Map();
const CHANNEL = ['send', 'disconnect', 'connected', 'channel'];

/** Before the function is loaded. An error if copies of this process could not be given random numbers of their own. */
function begin() {
  for (const name of CHANNEL) {
    channel.set(name, Object.getOwnPropertyDescriptor(process, name));
    delete process[name];
  }
  const random = Object.getOwnPropertyDescriptor(Math, 'random');
  Object.defineProperty(Math, 'random', { ...random, value: generator.random });
  renewRandomness();
}

/** Fulfilled in each restored copy, with its environment. */
async function wait(stream) {
  stream.letGo();
  channel.forEach((property, name) => Object.defineProperty(process, name, property));
  const handle = await new Promise((resolve) => {
    process.once('message', (_message, received) => resolve(received));
  });
  process.disconnect();
  CHANNEL.forEach((name) => delete process[name]);
  const { environment } = JSON.parse(await stream.adopt(handle));
  Object.assign(process.env, environment);
  renewRandomness();
}

function renewRandomness() {
  // OpenSSL's generators take up what this adds before they give anything again (RAND_poll(3)). Loaded again, it does so again.
  process.dlopen({ exports: {} }, path.join(__dirname, 'reseed.node'));
  for (let count = 0; count < UUIDS_KEPT; count += 1) {
    crypto.randomUUID();
  }
  for (let count = 0; count < INTEGERS_KEPT; count += 1) {
    crypto.randomInt(2);
  }
  generator.seed();
}

// `Math.random` of the engine can't be seeded again. This is sfc32 of Chris Doty-Humphrey's PractRand.
const generator = {
  state: new Int32Array(4),

  seed() {
    crypto.randomFillSync(this.state);
    this.state[3] = 1;
    for (let count = 0; count < 12; count += 1) {
      next(this.state);
    }
  },

  /** As many random bits as a number between 0 and 1 holds. */
  random() {
    return (next(generator.state) * 0x200000 + (next(generator.state) >>> 11)) / 0x20000000000000;
  },
};

function next(state) {
  const [a, b, c, count] = state;
  const sum = (a + b + count) | 0;
  state[0] = b ^ (b >>> 9);
  state[1] = (c + (c << 3)) | 0;
  state[2] = (((c << 21) | (c >>> 11)) + sum) | 0;
  state[3] = (count + 1) | 0;
  return sum >>> 0;
}

module.exports = { begin, wait };
