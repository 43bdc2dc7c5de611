'use strict';

/**
 * `_X_AMZN_TRACE_ID`, which changes with every call, without `setenv`: the C library never frees a value that was set once, so a busy function would lose some 100 bytes of its
 * memory with each call. `process.env` answers for this one variable from here; child processes get it as well, since their environment is copied from `process.env`.
 */

const { syncBuiltinESMExports } = require('node:module');

const NAME = '_X_AMZN_TRACE_ID';

let value = process.env[NAME];
delete process.env[NAME];

const property = () => ({ value, writable: true, enumerable: true, configurable: true });

const traps = {
  get: (env, key) => (key === NAME ? value : env[key]),
  has: (env, key) => (key === NAME ? value !== undefined : key in env),
  set(env, key, to) {
    if (key === NAME) {
      value = String(to);
    } else {
      env[key] = to;
    }
    return true;
  },
  deleteProperty(env, key) {
    if (key === NAME) {
      value = undefined;
      return true;
    }
    return delete env[key];
  },
  ownKeys(env) {
    const keys = Reflect.ownKeys(env);
    return value === undefined ? keys : [...keys, NAME];
  },
  getOwnPropertyDescriptor(env, key) {
    if (key !== NAME) {
      return Reflect.getOwnPropertyDescriptor(env, key);
    }
    return value === undefined ? undefined : property();
  },
  defineProperty(env, key, descriptor) {
    if (key === NAME) {
      value = String(descriptor.value);
      return true;
    }
    return Reflect.defineProperty(env, key, descriptor);
  },
};

process.env = new Proxy(process.env, traps);
// `import { env } from 'node:process'` gets the same object.
syncBuiltinESMExports();

/** Sets it for the call that begins; `undefined` if it has none. */
function setTrace(to) {
  value = to;
}

module.exports = { setTrace };
