// Sends one call of every type with RudderStack's Node SDK: node send_rudderstack.mjs HOST WRITE_KEY PREFIX
// It compresses its requests and gives them the media type of a form.

import RudderAnalytics from '@rudderstack/rudder-sdk-node'
import { parameters, sendAll } from './calls.mjs'

const { host, writeKey, prefix } = parameters()
const analytics = new RudderAnalytics(writeKey, { dataPlaneUrl: host, flushAt: 4, logLevel: 'error' })
const send = (type, message, done) => analytics[type](message, done)
await sendAll('@rudderstack/rudder-sdk-node', prefix, send, () => analytics.flush())
