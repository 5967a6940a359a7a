// Sends one call of every type with Customer.io's Node SDK: node send_customerio.mjs HOST WRITE_KEY PREFIX

import { Analytics } from '@customerio/cdp-analytics-node'
import { parameters, sendAll } from './calls.mjs'

const { host, writeKey, prefix } = parameters()
const analytics = new Analytics({ host, writeKey, maxEventsInBatch: 4, httpRequestTimeout: 10_000 })
const failed = []
analytics.on('error', (error) => failed.push(String(error.reason ?? error.code ?? error)))
const send = (type, message, done) => analytics[type](message, done)
await sendAll('@customerio/cdp-analytics-node', prefix, send, () => analytics.closeAndFlush({ timeout: 40_000 }), failed)
