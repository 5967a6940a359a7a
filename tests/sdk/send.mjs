// Sends one call of every type with Segment's Node SDK: node send.mjs HOST WRITE_KEY PREFIX

import { Analytics } from '@segment/analytics-node'
import { parameters, sendAll } from './calls.mjs'

const { host, writeKey, prefix } = parameters()
const analytics = new Analytics({ host, writeKey, flushAt: 4, httpRequestTimeout: 10_000 })
const failed = []
analytics.on('error', (error) => failed.push(String(error.reason ?? error.code ?? error)))
const send = (type, message, done) => analytics[type](message, done)
await sendAll('@segment/analytics-node', prefix, send, () => analytics.flush({ timeout: 40_000 }), failed)
