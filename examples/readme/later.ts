import { sendEmail } from './shop.ts'

// region countdown
const later = await sendEmail.applyAsync({ to: 'ada@example.com' }, { countdown: '2s', expires: '1h' })
// or: { eta: new Date('2027-01-01T09:00:00Z') }
await later.get({ timeout: '10s' })
// endregion

console.log('sent')
