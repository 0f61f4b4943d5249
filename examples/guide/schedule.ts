// What docs/guide/scheduling.md says, checked.
import { deepEqual, equal, match } from 'node:assert/strict'
import { at, Celeriac, crontab, every, type OwnSchedule, solar } from 'celeriac'

// region entries
const app = new Celeriac('shop', {
  timezone: 'Europe/Berlin',
  beatSchedule: {
    // By name, as in Celery: for tasks whose code is elsewhere.
    'nightly report': { task: 'reports.daily', args: ['all'], schedule: crontab('0 3 * * mon-fri'), options: { queue: 'reports' } },
  },
})
const remind = app.task('shop.remind', (whom: string) => `remembered ${whom}`)

app.addPeriodicTask(every('30s'), remind.s('ada'), { name: 'remind ada' })
app.addPeriodicTask(crontab({ minute: 0, hour: [9, 17] }), remind.s('grace'), { name: 'remind grace' })
// endregion

// region kinds
every('10m') // again and again, counted from when beat first saw it
every('1h', { relative: true }) // at every full hour
crontab('*/15 9-17 * * mon-fri') // minute hour day-of-month month day-of-week
crontab('*/10 * * * * *') // six fields: seconds first
crontab({ minute: 30, hour: 6, dayOfMonth: '1-7', dayOfWeek: 'mon', timezone: 'Asia/Tokyo' }) // the first Monday of a month
solar('sunset', 52.52, 13.405) // Celery's nine events of the sun
at(new Date('2030-01-31T12:00:00Z')) // once
// endregion

// region rules
app.addPeriodicTask(crontab('0 * * * *'), remind.s('hourly'), {
  name: 'hourly sums',
  options: { queue: 'sums', expires: '30m' }, // of each call
  misfire: 'skip', // missed by more than misfireGrace (60 s): left out
  overlap: 'skip', // the run before has not ended: left out
  jitter: '2m', // up to two minutes later, always the same for the same hour
  startAt: new Date('2026-01-01T00:00:00Z'),
  endAt: new Date('2036-01-01T00:00:00Z'),
  description: 'sums of the last hour',
})
// endregion

// region made
app.addPeriodicTask(every('1d', { relative: true }), ({ dueAt }) => remind.s(dueAt.toISOString().slice(0, 10)), { name: 'daily' })
// endregion

// region own
const fullMoonIsh: OwnSchedule = {
  next(after) {
    const [month, first] = [29.53 * 86_400_000, Date.UTC(2026, 0, 3, 10)]
    return new Date(first + (Math.floor((after.getTime() - first) / month) + 1) * month)
  },
}
app.addPeriodicTask(fullMoonIsh, remind.s('the wolves'), { name: 'moon' })
// endregion

// region run-time
await app.schedule.add('digest', { task: remind.s('everybody'), schedule: crontab('0 8 * * *') })
await app.schedule.update('digest', { schedule: crontab('30 8 * * *') })
await app.schedule.pause('digest')
await app.schedule.resume('digest')
const taskId = await app.schedule.run('digest') // now, whatever its schedule says
const runs = await app.schedule.history('digest') // the newest first
const coming = await app.schedule.next('digest', 3)
await app.schedule.remove('digest')
// endregion
deepEqual(
  runs.map((run) => [run.outcome, run.taskId]),
  [['asked', taskId]],
)
equal(coming.length, 3)

// region beat
const beat = await app.beat().start() // one of any number: it leads, or waits until it does
console.error(beat.state)
await beat.stop() // lets another lead at once
// endregion
equal(beat.state, 'stopped')
const entries = await app.schedule.list()
deepEqual(
  entries.map(({ name }) => name),
  ['daily', 'hourly sums', 'moon', 'nightly report', 'remind ada', 'remind grace'],
)
match(entries[3]?.schedule ?? '', /^crontab 0 3 \* \* mon-fri$/)
await app.close()
console.log('all as expected')
