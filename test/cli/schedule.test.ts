/** `celeriac beat`, `celeriac schedule` and `celeriac worker --beat`, as processes. */
import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { needs } from '../../scripts/needs.mjs'
import { startRedis } from '../../scripts/services.mjs'
import { Project } from './project.js'

const app = `import { Celeriac, crontab, every } from 'celeriac'
export const app = new Celeriac('shop', {
  timezone: 'Europe/Berlin',
  beatSchedule: { nightly: { task: 'report', schedule: crontab('0 3 * * mon-fri', { timezone: 'America/New_York' }), description: 'sums' } },
})
export const add = app.task('add', (x: number, y: number): number => x + y)
app.addPeriodicTask(every(0.5), add.s(1, 2), { name: 'often' })
`

/** Without the terminal's own words. */
function rows(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '')
}

test('beat says who it is with the next three runs of each entry in its zone, sends, and ends in order', async () => {
  await using project = new Project({ 'app.ts': app })
  const beat = project.start(['-A', './app.ts', 'beat', '--log-format', 'human', '--lease', '2s'])
  await beat.says('Scheduler: Sending due task often (add)')
  beat.child.kill('SIGTERM')
  const { code, stderr } = await beat.ended
  expect(code).toBe(0)
  expect(stderr).toMatch(/celeriac \S+ {2}beat {2}\(pid \d+\)/)
  expect(stderr).toContain('store    sqlite://  lease 2s')
  expect(stderr).toMatch(
    /nightly +crontab 0 3 \* \* mon-fri \(America\/New_York\) +(\d{4}-\d\d-\d\d 03:00:00 -0[45]:00, ){2}\S+ 03:00:00 -0[45]:00 America\/New_York/,
  )
  expect(stderr).toMatch(/often +every 500ms +.* Europe\/Berlin/)
  const listed = JSON.parse((await project.run(['-A', './app.ts', 'schedule', 'list', '--json'])).stdout)
  expect(listed.map((entry: { name: string }) => entry.name)).toEqual(['nightly', 'often'])
  expect(listed[1]).toMatchObject({ state: 'waiting', source: 'program', schedule: 'every 500ms' })
  expect(listed[1].totalRunCount).toBeGreaterThan(0)
})

test('schedule adds, shows, pauses, resumes, runs, changes and removes entries', async () => {
  await using project = new Project({ 'app.ts': app })
  const schedule = async (...args: string[]) => project.run(['-A', './app.ts', 'schedule', ...args])
  const added = await schedule(
    'add',
    'sums',
    '--task',
    'add',
    '--args',
    '[1, 2]',
    '--cron',
    '30 6 * * *',
    '--timezone',
    'Asia/Tokyo',
    '--queue',
    'mail',
    '--jitter',
    '10s',
    '--overlap',
    'skip',
    '--json',
  )
  expect(added.code, added.stderr).toBe(0)
  expect(JSON.parse(added.stdout)).toMatchObject({
    name: 'sums',
    task: 'add',
    timezone: 'Asia/Tokyo',
    jitter: 10,
    overlap: 'skip',
    source: 'stored',
    state: 'waiting',
  })
  const [next, again, paused, resumed, ran, changed, taken] = await Promise.all([
    schedule('next', 'sums', '-n', '2'),
    schedule('add', 'nightly', '--task', 'add', '--every', '5m'),
    schedule('pause', 'nightly', '--json'),
    schedule('resume', 'often', '--json'),
    schedule('run', 'sums', '--json'),
    schedule('update', 'often', '--every', '1h'),
    schedule('remove', 'nightly'),
  ])
  expect(rows(next.stdout)).toHaveLength(2)
  expect(next.stdout).toMatch(/^\S+ 06:30:00 \+09:00 Asia\/Tokyo$/m)
  expect([again.code, again.stderr]).toEqual([64, expect.stringContaining('ERR_SCHEDULE_CONFLICT')])
  expect(JSON.parse(paused.stdout)).toMatchObject({ state: 'paused', dueAt: null })
  expect(JSON.parse(resumed.stdout)).toMatchObject({ name: 'often' })
  expect(JSON.parse(ran.stdout).id).toMatch(/^[0-9a-f-]{36}$/)
  expect(changed.stderr).toContain('often changed; next: ')
  expect([taken.code, taken.stderr]).toEqual([64, expect.stringContaining("is the program's own")])
  const [list, history, removed] = await Promise.all([schedule('list'), schedule('history', 'sums', '--json'), schedule('remove', 'often')])
  expect(list.stdout).toMatch(/^sums +add +crontab 30 6 \* \* \* \(Asia\/Tokyo\) +waiting +1 /m)
  expect(list.stdout).toMatch(/^nightly +report .* paused +0 +- +-$/m)
  expect(JSON.parse(history.stdout)).toMatchObject([{ entry: 'sums', outcome: 'asked', dueAt: null }])
  expect(removed.code).toBe(0)
  expect((await schedule('next', 'often', '--json')).stdout).toContain('"name":"often"')
})

test('schedule looks where beat is told to keep its schedule', async () => {
  await using project = new Project({ 'app.ts': app })
  const added = await project.run(['-A', './app.ts', 'schedule', 'add', 'sums', '--task', 'add', '--every', '5m', '-s', 'state.json'])
  expect(added.code, added.stderr).toBe(0)
  // A broker that other hosts may reach, and a store that they cannot.
  const beat = project.start(['-A', './app.ts', 'beat', '-s', 'state.json', '--log-format', 'human'], {
    CELERIAC_BROKER_URL: 'redis://127.0.0.1:1/0',
  })
  await beat.says('beat: leading with 3 entries')
  beat.child.kill('SIGTERM')
  const { stderr } = await beat.ended
  expect(stderr).toMatch(/sums +every 5m /)
  expect(stderr).toContain('! the store is on this host: beats on other hosts send the same once more')
  const [there, elsewhere] = await Promise.all([
    project.run(['-A', './app.ts', 'schedule', 'next', 'sums', '--store', 'file://state.json']),
    project.run(['-A', './app.ts', 'schedule', 'next', 'sums']),
  ])
  expect(rows(there.stdout)).toHaveLength(10)
  expect([elsewhere.code, elsewhere.stderr]).toEqual([64, expect.stringContaining('there is no schedule entry "sums"')])
})

test('a wrong command line is refused with the field, the range and an example', async () => {
  await using project = new Project({ 'app.ts': app })
  const wrong = [
    [
      ['add', 'x', '--task', 'add', '--cron', '0 24 * * *'],
      'expected the hour of crontab to be 0 to 23, such as "9-17" or "*/4", got: "24"',
    ],
    [['add', 'x', '--task', 'add', '--cron', '0 3 * * *', '--timezone', 'Berlin'], 'an IANA time zone such as "Europe/Berlin"'],
    [['add', 'x', '--task', 'add', '--every', 'often'], 'expected --every to be a number of seconds, or text such as 10s or 5m'],
    [['add', 'x', '--task', 'add', '--every', '5', '--cron', '* * * * *'], 'expected one of --cron and --every'],
    [['add', 'x', '--task', 'add'], 'needs one of --cron, --every, --at and --solar'],
    [['add', 'x', '--task', 'add', '--solar', 'sunset', '--lat', '99', '--lon', '0'], 'a number from -90 to 90'],
    [['pause'], 'celeriac schedule pause needs the name of an entry'],
    [['paus', 'nightly'], 'Did you mean pause?'],
    [['pause', 'nighly'], 'Did you mean "nightly"?'],
  ] as const
  const ended = await Promise.all(wrong.map(([args]) => project.run(['-A', './app.ts', 'schedule', ...args])))
  expect(ended.map(({ code, stderr }, index) => [code, stderr.includes(wrong[index]?.[1] ?? '') ? 'as it should' : stderr])).toEqual(
    wrong.map(() => [64, 'as it should']),
  )
})

test('worker --beat sends what is due and runs it', async () => {
  await using project = new Project({ 'app.ts': app })
  const worker = project.start(['-A', './app.ts', 'worker', '--beat', '-P', 'async', '--log-format', 'human'])
  await worker.says('Scheduler: Sending due task often (add)')
  await worker.says('succeeded in')
  worker.child.kill('SIGTERM')
  expect((await worker.ended).code).toBe(0)
})

test.skipIf(needs.redis?.find() === undefined)(
  'beat --import redbeat brings in what RedBeat has written, once, and says what it cannot',
  { timeout: 60_000 },
  async () => {
    const server = await startRedis()
    const client = new Redis(server.url)
    try {
      // Recorded from RedBeat 2.4.2.
      const keys: Record<string, { hash?: Record<string, string>; zset?: [string, number][] }> = JSON.parse(
        readFileSync(new URL('../beat/redbeat-keys.json', import.meta.url), 'utf8'),
      )
      for (const [key, { hash, zset = [] }] of Object.entries(keys)) {
        if (hash !== undefined) await client.hset(key, hash)
        for (const [member, score] of zset) await client.zadd(key, score, member)
      }
      const before = (await client.keys('redbeat*')).sort()
      await using project = new Project({ 'app.ts': app.replace("'shop', {", `'shop', { brokerUrl: '${server.url}',`) })
      const beat = project.start(['-A', './app.ts', 'beat', '--import', 'redbeat', '--log-format', 'human'])
      await beat.says('redbeat: 4 entries brought in, 0 were here already')
      // Missed since January: once, by the rule for what was missed.
      await beat.says('Scheduler: Sending due task nightly')
      beat.child.kill('SIGTERM')
      const { stderr } = await beat.ended
      expect(stderr).toContain('! redbeat: rule cannot be brought in: its schedule is of the type "rrule"')
      const listed = JSON.parse((await project.run(['-A', './app.ts', 'schedule', 'list', '--json'])).stdout)
      const byName = Object.fromEntries(listed.map((entry: { name: string }) => [entry.name, entry]))
      expect(byName['every-30']).toMatchObject({ task: 'tasks.add', schedule: 'every 30s', state: 'waiting' })
      expect(byName.off).toMatchObject({ schedule: 'every 5m, relative', state: 'paused' })
      expect(byName['list-fields']).toMatchObject({ schedule: 'crontab 0,30 6 * * *' })
      expect(byName.nightly).toMatchObject({ schedule: 'crontab 0 3 * * mon-fri', source: 'changed' })
      expect(byName.nightly.totalRunCount).toBe(2)
      expect((await client.keys('redbeat*')).sort()).toEqual(before)
      const again = project.start(['-A', './app.ts', 'beat', '--import', 'redbeat', '--log-format', 'human'])
      await again.says('redbeat: 0 entries brought in, 4 were here already')
      again.child.kill('SIGTERM')
      await again.ended
    } finally {
      client.disconnect()
      await server.stop()
    }
  },
)
