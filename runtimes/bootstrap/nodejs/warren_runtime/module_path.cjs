'use strict';

// NODE_PATH for `import`. Node.js honours it for `require` alone; on Lambda, ES modules too find the packages of layers and the
// AWS SDK there. Only bare names that were not found otherwise take this way, so the function's own packages go first.

const fs = require('node:fs');
const path = require('node:path');
const module_ = require('node:module');
const { pathToFileURL } = require('node:url');

// A folder is searched as if a module beside it had asked. Most functions have no layers, and need none of this: `/node_modules` is found
// without it.
const parents = (process.env.NODE_PATH ?? '')
  .split(path.delimiter)
  .filter((folder) => path.basename(folder) === 'node_modules' && folder !== '/node_modules' && fs.existsSync(folder))
  .map((folder) => pathToFileURL(path.join(path.dirname(folder), 'index.mjs')).href);

let extended = false;

/** Called before an ES module is loaded. */
function extendToImport() {
  if (extended || parents.length === 0) {
    return;
  }
  extended = true;
  if (module_.registerHooks) {
    module_.registerHooks({ resolve });
  } else {
    // Node.js 20 runs hooks on a thread of their own, which takes 25 ms to start.
    module_.register(pathToFileURL(path.join(__dirname, 'module_path_thread.mjs')));
  }
}

/** Called when a CommonJS function has been loaded, for its dynamic imports: hooks slow each `require` down a little. */
function extendToLaterImport() {
  if (module_.registerHooks) {
    extendToImport();
  }
}

function resolve(specifier, context, next) {
  try {
    return next(specifier, context);
  } catch (error) {
    if (!isMissingPackage(error, specifier)) {
      throw error;
    }
    for (const parentURL of parents) {
      try {
        return next(specifier, { ...context, parentURL });
      } catch {
        // Not there either.
      }
    }
    throw error;
  }
}

function isMissingPackage(error, specifier) {
  return error.code === 'ERR_MODULE_NOT_FOUND' && /^[@\w]/.test(specifier) && !/^\w+:/.test(specifier);
}

module.exports = { extendToImport, extendToLaterImport, isMissingPackage, parents };
