// The function that every server runs: which process answered, and its how-manieth answer this is.
// The nonce is made at the first call, because workerd has no random numbers before it.
let boot;
let n = 0;
module.exports = () => {
  boot ??= crypto.randomUUID();
  return { boot, n: ++n };
};
