// Prints what the snippet says about a request: JSON in, two booleans out.
import { readFileSync } from 'node:fs'
import { verify, verifyParsed, verifyX } from './snippet.mjs'

for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const { secret, headers, body } = JSON.parse(line)
  const rawBody = Buffer.from(body, 'base64')
  const signature = headers['x-signature']
  const parsed = verifyParsed(secret, signature, JSON.parse(rawBody))
  // Of a batch, the recipe finds the first item, and the bytes are not what is signed.
  const isX = rawBody[0] === 0x5b ? parsed : parsed && verifyX(secret, signature, rawBody)
  console.log(verify(secret, headers, rawBody), isX)
}
