// Sends one call of every type with Segment's browser SDK to the service that the query names, as a page of another
// origin: ?service=URL&key=WRITE_KEY. `window.sent` has the messageId of each type once the SDK has it.

const query = new URLSearchParams(location.search)
const analytics = AnalyticsNext.AnalyticsBrowser.load({ writeKey: query.get('key'), cdnURL: query.get('service') })
window.sent = {}
const sends = async (type, call) => {
  const context = await call
  window.sent[type] = context.event.messageId
}
sends('identify', analytics.identify('u-1', { email: 'someone@example.com', plan: null }))
sends('track', analytics.track('Größe gewählt', { 10: 'ten', 2: 'two', price: 1e21, text: 'a/b "c" \u2028 😀' }))
sends('page', analytics.page('Docs', 'Home', { url: 'https://example.com/?a=1&b=<2>' }))
sends('screen', analytics.screen('Start', { width: 320 }))
sends('group', analytics.group('g-1', { name: 'Example' }))
sends('alias', analytics.alias('u-2', 'u-1'))
