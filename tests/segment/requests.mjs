// Sends requests with Segment's own webhook definitions, and prints what arrived: for each JSON line in, one out.
// A line names the definition, its settings, the mapping and the events; `batch` sends them together. The answer has
// the requests, and how many payloads the definition refused.
import { createRequire } from 'node:module'
import http from 'node:http'
import { createInterface } from 'node:readline'

const require = createRequire(import.meta.url)
const { Destination } = require('@segment/actions-core')
const definitions = {
  segment_actions: require('./node_modules/@segment/action-destinations/dist/destinations/webhook/index.js').default,
  segment_extensible:
    require('./node_modules/@segment/action-destinations/dist/destinations/webhook-extensible/index.js').default,
}
// A definition's name begins the key of its schema, which has to be a URI: with a space it is none.
const destinations = Object.fromEntries(
  Object.entries(definitions).map(([name, definition]) => [name, new Destination({ ...definition, name: name.replace('_', '-') })])
)

let arrived = []
const receiver = http.createServer((request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const { method, url, headers } = request
    arrived.push({ method, url, headers, body: Buffer.concat(chunks).toString('utf-8') })
    response.end()
  })
})
await new Promise((listening) => receiver.listen(0, '127.0.0.1', listening))
const base = `http://127.0.0.1:${receiver.address().port}`

// The mapping's URLs have the receiver's address for this word.
const aimed = (value) => JSON.parse(JSON.stringify(value).replaceAll('http://receiver', base))

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const { profile, settings, auth, mapping, events, batch } = aimed(JSON.parse(line))
  const action = destinations[profile].actions.send
  const bundle = { mapping: { method: 'POST', data: { '@path': '$.' }, ...mapping }, settings, auth }
  arrived = []
  let refused = 0
  for (const data of batch ? [events] : events) {
    try {
      await (batch ? action.executeBatch({ ...bundle, data }) : action.execute({ ...bundle, data }))
    } catch {
      refused += 1
    }
  }
  process.stdout.write(JSON.stringify({ requests: arrived, refused }) + '\n')
}
receiver.close()
receiver.closeAllConnections()
