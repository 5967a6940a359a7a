// Evaluates cases with Segment's own code, one JSON line each: whether the trigger matches, and the
// rendered payload as JSON text; null if the code throws.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const require = createRequire(import.meta.url)
const { transform } = require('@segment/actions-core')
const { parseFql, validate } = require('@segment/destination-subscriptions')

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const { trigger, data, event } = JSON.parse(line)
  const matched = trigger === '' || validate(parseFql(trigger), event)
  let body = null
  try {
    // Mappings see the printed document: a number too large for JSON is null there.
    body = JSON.stringify(transform(data, JSON.parse(JSON.stringify(event)))) ?? null
  } catch {
    // Postrider has to refuse it as well.
  }
  process.stdout.write(JSON.stringify({ matched, body }) + '\n')
}
