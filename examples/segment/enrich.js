// Drops events of the team's own people, and gives the others what the CRM wants as `properties`.
async function onIdentify(event, settings) {
  const email = String(event.traits?.email ?? '').toLowerCase()
  if (email === '') throw new InvalidEventPayload('an email is needed')
  if (email.endsWith('@example.com')) throw new DropEvent('one of us')
  event.properties = { id: event.userId, email, region: settings.region }
  return event
}

async function onTrack(event, settings) {
  event.properties = { id: event.userId, did: event.event, region: settings.region }
  return event
}
