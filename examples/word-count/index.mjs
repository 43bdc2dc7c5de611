// Counts words: `POST /words` with `{"text": "a b a"}`, or the same as a plain event.
// LANG is `en_US.UTF-8` unless the owner sets it.
const locale = (process.env.LANG ?? "en").split(/[._]/)[0];

export const handler = async (event) => {
  const input = typeof event.body === "string" ? JSON.parse(decode(event)) : event;
  if (typeof input.text !== "string") {
    return { statusCode: 400, body: JSON.stringify({ message: 'Send {"text": "..."}' }) };
  }
  const counts = {};
  for (const word of input.text.toLocaleLowerCase(locale).match(/\p{L}+/gu) ?? []) {
    counts[word] = (counts[word] ?? 0) + 1;
  }
  console.log(`${Object.keys(counts).length} different words`);
  return counts;
};

const decode = (event) =>
  event.isBase64Encoded ? Buffer.from(event.body, "base64").toString("utf8") : event.body;
