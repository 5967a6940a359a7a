// Sends one call of every type with the official Node SDK:
//   node send.mjs HOST WRITE_KEY PREFIX
// prints {"sdk", "sent": [{"type", "messageId"}], "failed": []} once all are acknowledged.

import { Analytics } from '@segment/analytics-node'

const [host, writeKey, prefix] = process.argv.slice(2)
if (!host || !writeKey || !prefix) {
  console.error('usage: node send.mjs HOST WRITE_KEY PREFIX')
  process.exit(2)
}

const analytics = new Analytics({ host, writeKey, maxRetries: 0, flushAt: 4, httpRequestTimeout: 10_000 })
const failed = []
analytics.on('error', (error) => failed.push(String(error.reason ?? error.code ?? error)))

const messageIds = {}
const id = (type) => (messageIds[type] = `${prefix}-${type}`)
const calls = {
  track: { event: 'Größe gewählt', userId: 'u-1', properties: { 10: 'ten', 2: 'two', price: 1e21, tiny: 1e-7, text: 'a/b "c" \u2028 😀' } },
  identify: { userId: 'u-1', traits: { email: 'someone@example.com', plan: null, nested: { list: [1, -0, 2.5] } } },
  page: { userId: 'u-1', category: 'Docs', name: 'Home', properties: { url: 'https://example.com/?a=1&b=<2>' } },
  screen: { anonymousId: 'a-1', name: 'Start', properties: { width: 320 } },
  group: { userId: 'u-1', groupId: 'g-1', traits: { name: 'Example' } },
  alias: { userId: 'u-1', previousId: 'a-1' },
}

const acknowledged = Object.entries(calls).map(
  ([type, call]) =>
    new Promise((resolve) => analytics[type]({ ...call, messageId: id(type) }, (error) => {
      if (error) failed.push(`${type}: ${error}`)
      resolve()
    })),
)
await Promise.all([analytics.flush({ timeout: 20_000 }), ...acknowledged])

const sent = Object.entries(messageIds).map(([type, messageId]) => ({ type, messageId }))
console.log(JSON.stringify({ sdk: '@segment/analytics-node', sent, failed }))
process.exit(failed.length === 0 ? 0 : 1)
