'use strict';

// Finds the function named by `_HANDLER`, in CommonJS and ES modules.

const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');

const errors = require('./errors.cjs');
const modulePath = require('./module_path.cjs');
const { runtimeMajor } = require('./version.cjs');
const { isStreaming, installGlobal } = require('./streaming_api.cjs');

// "Require stack" in messages then names the entry point, as on Lambda.
const requireFromEntry = createRequire(path.join(__dirname, '..', 'bootstrap.mjs'));

const CALLBACKS_REMOVED =
  'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function ' +
  'to use a supported handler signature to use Node.js 24 or later. For more information see ' +
  'https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.';

/** `name` is `folder/file.export` or `folder/file.namespace.export`. */
async function load(taskRoot, name) {
  const { folder, file, exported } = split(name);
  installGlobal();
  const module = await loadModule(taskRoot, folder, file);
  modulePath.extendToLaterImport();
  const handler = find(module, exported, name);
  const streaming = isStreaming(handler);
  if (runtimeMajor >= 24 && !streaming && handler.length >= 3) {
    throw new errors.CallbackHandlerDeprecated(CALLBACKS_REMOVED);
  }
  return { handler, streaming };
}

function split(name) {
  if (name.includes('..')) {
    throw new errors.MalformedHandlerName(
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const base = path.basename(name);
  const dot = base.indexOf('.');
  if (dot === -1) {
    throw new errors.MalformedHandlerName('Bad handler');
  }
  return { folder: name.slice(0, name.indexOf(base)), file: base.slice(0, dot), exported: base.slice(dot + 1) };
}

function find(module, exported, name) {
  const lookUp = (object) => exported.split('.').reduce((found, key) => found?.[key], object);
  const handler = lookUp(module) ?? lookUp(module?.default);
  if (!handler) {
    throw new errors.HandlerNotFound(`${name} is undefined or not exported`);
  }
  if (typeof handler !== 'function') {
    throw new errors.HandlerNotFound(`${name} is not a function`);
  }
  return handler;
}

async function loadModule(taskRoot, folder, file) {
  try {
    return await findModule(taskRoot, folder, file);
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new errors.UserCodeSyntaxError(error);
    }
    if (error?.code === 'MODULE_NOT_FOUND') {
      throw new errors.ImportModuleError(String(error));
    }
    throw error;
  }
}

/** Lambda's order: the bare name, `.js`, `.mjs`, `.cjs`, then a package of that name. */
async function findModule(taskRoot, folder, file) {
  const base = path.resolve(taskRoot, folder, file);
  if (fs.existsSync(base)) {
    return requireFromEntry(base);
  }
  if (fs.existsSync(`${base}.js`)) {
    return isEsModule(path.dirname(base)) ? importModule(`${base}.js`) : requireFromEntry(`${base}.js`);
  }
  if (fs.existsSync(`${base}.mjs`)) {
    return importModule(`${base}.mjs`);
  }
  if (fs.existsSync(`${base}.cjs`)) {
    return requireFromEntry(`${base}.cjs`);
  }
  return requireFromEntry(requireFromEntry.resolve(file, { paths: [taskRoot, path.resolve(taskRoot, folder)] }));
}

function importModule(file) {
  modulePath.extendToImport();
  return import(pathToFileURL(file).href);
}

/** Whether the nearest package.json makes `.js` files of this folder ES modules. */
function isEsModule(folder) {
  if (path.basename(folder) === 'node_modules') {
    return false;
  }
  let text;
  try {
    text = fs.readFileSync(path.join(folder, 'package.json'), 'utf8');
  } catch {
    return folder !== '/' && isEsModule(path.dirname(folder));
  }
  try {
    return JSON.parse(text)?.type === 'module';
  } catch (error) {
    console.warn(`${folder}/package.json cannot be read, it will be ignored for ES module detection purposes.`, error);
    return false;
  }
}

module.exports = { load };
