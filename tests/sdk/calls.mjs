// The calls that every SDK makes, one of each type, and the report of what was sent.

export const calls = {
  track: { event: 'Größe gewählt', userId: 'u-1', properties: { 10: 'ten', 2: 'two', price: 1e21, tiny: 1e-7, text: 'a/b "c" \u2028 😀' } },
  identify: { userId: 'u-1', traits: { email: 'someone@example.com', plan: null, nested: { list: [1, -0, 2.5] } } },
  page: { userId: 'u-1', category: 'Docs', name: 'Home', properties: { url: 'https://example.com/?a=1&b=<2>' } },
  screen: { anonymousId: 'a-1', name: 'Start', properties: { width: 320 } },
  group: { userId: 'u-1', groupId: 'g-1', traits: { name: 'Example' } },
  alias: { userId: 'u-1', previousId: 'a-1' },
}

// HOST WRITE_KEY PREFIX
export function parameters() {
  const [host, writeKey, prefix] = process.argv.slice(2)
  if (!host || !writeKey || !prefix) {
    console.error(`usage: node ${process.argv[1]} HOST WRITE_KEY PREFIX`)
    process.exit(2)
  }
  return { host, writeKey, prefix }
}

// Makes every call with send(type, message, done), waits until all are acknowledged, and prints
// {"sdk", "sent": [{"type", "messageId"}], "failed": []}.
export async function sendAll(sdk, prefix, send, flush, failed = []) {
  const acknowledged = Object.entries(calls).map(
    ([type, call]) =>
      new Promise((resolve) => send(type, { ...call, messageId: `${prefix}-${type}` }, (error) => {
        if (error) failed.push(`${type}: ${error}`)
        resolve()
      })),
  )
  await Promise.all([flush(), ...acknowledged])
  const sent = Object.keys(calls).map((type) => ({ type, messageId: `${prefix}-${type}` }))
  console.log(JSON.stringify({ sdk, sent, failed }))
  process.exit(failed.length === 0 ? 0 : 1)
}
