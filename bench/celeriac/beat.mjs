// @ts-check
// A beat with so many entries, none of which is due while it is looked at. Says when it leads; ends by SIGTERM.
import { Celeriac, crontab, every } from '../../dist/index.js'

const app = new Celeriac('bench-beat', { brokerUrl: process.env.BENCH_BROKER ?? '', workerLogLevel: 'error' })
const soon = new Date().getUTCMinutes() + 10
for (let index = 0; index < Number(process.env.BENCH_ENTRIES); index++) {
  const schedule = index % 2 === 0 ? every(3600 + index) : crontab({ minute: (soon + (index % 40)) % 60 }, { timezone: 'Europe/Berlin' })
  app.addPeriodicTask(schedule, app.remote('bench.none').s(index), { name: `entry-${index}` })
}
const beat = app.beat()
process.once('SIGTERM', () => void beat.stop())
const running = beat.run()
const look = setInterval(() => {
  if (!beat.isLeading) return
  clearInterval(look)
  process.stdout.write('leading\n')
}, 50)
await running
await app.close()
