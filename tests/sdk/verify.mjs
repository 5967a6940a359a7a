// A receiver that verifies signatures as Segment's webhook documentation shows: parse the body,
// stringify it again, HMAC-SHA1 with the shared secret, compare with X-Signature.
//   SHARED_SECRET=… node verify.mjs [STATUS,STATUS,…]
// prints {"listening": PORT}, then a line of JSON per request. The statuses answer the requests of each
// webhook-id in order; the last one repeats. Exits when its standard input closes.

import crypto from 'node:crypto'
import http from 'node:http'

const sharedSecret = process.env.SHARED_SECRET
if (!sharedSecret) {
  console.error('usage: SHARED_SECRET=… node verify.mjs [STATUS,STATUS,…]')
  process.exit(2)
}
const statuses = (process.argv[2] ?? '200').split(',').map(Number)
const tries = new Map()

function verdict(text, signature) {
  let body
  try {
    body = JSON.parse(text)
  } catch {
    return { parsed: false, verified: false }
  }
  const digest = crypto
    .createHmac('sha1', sharedSecret)
    .update(Buffer.from(JSON.stringify(body), 'utf-8'))
    .digest('hex')
  return { parsed: true, verified: signature === digest, exact: JSON.stringify(body) === text, type: body.type, messageId: body.messageId, body }
}

function standardVerdict(text, headers) {
  const key = sharedSecret.startsWith('whsec_') ? Buffer.from(sharedSecret.slice(6), 'base64') : sharedSecret
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${text}`
  const expected = `v1,${crypto.createHmac('sha256', key).update(signed, 'utf-8').digest('base64')}`
  return (headers['webhook-signature'] ?? '').split(' ').includes(expected)
}

const server = http.createServer((req, res) => {
  const chunks = []
  req.on('data', (chunk) => chunks.push(chunk))
  req.on('end', () => {
    const text = Buffer.concat(chunks).toString('utf-8')
    const webhookId = req.headers['webhook-id'] ?? null
    const tried = (tries.get(webhookId) ?? 0) + 1
    tries.set(webhookId, tried)
    const status = statuses[Math.min(tried, statuses.length) - 1]
    const line = {
      method: req.method,
      path: req.url,
      webhookId,
      tried,
      status,
      standardVerified: standardVerdict(text, req.headers),
      ...verdict(text, req.headers['x-signature']),
    }
    // The response follows the line, so that every answered request has been printed.
    process.stdout.write(`${JSON.stringify(line)}\n`, () => res.writeHead(status).end())
  })
})

server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ listening: server.address().port })))
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
