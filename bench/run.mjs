// @ts-check
// npm run bench: celeriac on Redis and on its embedded default beside its peers, which are on Redis. See README.md.
//   --quick          small counts, one round: a look, no evidence
//   --rounds 5       how often the variants alternate (default 3)
//   --only latency   one row (several: --only start --only latency)
//   --broker redis   celeriac on Redis alone; sqlite: on its embedded default alone; amqp: on RabbitMQ alone
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { startRabbit, startRedis } from '../scripts/services.mjs'
import { machine } from './machine.mjs'
import { makePeers, versions } from './peers.mjs'
import { tableOf, verdicts } from './report.mjs'
import { rowsOf } from './rows.mjs'
import { systemsOf } from './systems.mjs'

const { values: given } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    only: { type: 'string', multiple: true },
    variant: { type: 'string', multiple: true },
    broker: { type: 'string' },
  },
})
if (given.broker !== undefined && !['redis', 'sqlite', 'amqp'].includes(given.broker)) throw new Error('--broker is redis, sqlite or amqp')
const rounds = Number(given.rounds ?? (given.quick ? 1 : 3))
const root = fileURLToPath(new URL('..', import.meta.url))

execFileSync(process.execPath, ['scripts/install.mjs'], { cwd: root, stdio: 'inherit' })
execFileSync(process.execPath, ['scripts/build.mjs'], { cwd: root, stdio: 'inherit' })
const { python } = makePeers()
const about = { versions: versions(python), machine: machine(), rounds, quick: given.quick }
print(
  `${Object.entries(about.versions)
    .map((pair) => pair.join(' '))
    .join(' · ')}`,
)
print(JSON.stringify(about.machine))

const redis = await startRedis()
// bench's own packages are there only now.
const { Redis } = await import('ioredis')
const client = new Redis(redis.url)
const needsRabbit = (given.broker ?? 'amqp') === 'amqp' && (given.only?.some((name) => name.startsWith('rabbit')) ?? true)
const rabbit = needsRabbit ? await startRabbit() : undefined
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.once(signal, () => process.exit(1))
/** @type {import('./report.mjs').Sample[]} */
const samples = []
const tables = []
const loads = []
try {
  const systems = systemsOf({ python, redisUrl: redis.url, amqpUrl: rabbit?.url ?? '' })
  const all = rowsOf(systems, {
    quick: given.quick,
    redis: { url: redis.url, pid: redis.pid, ask: (command, ...args) => client.call(command, ...args) },
  })
  const unknown = given.only?.find((name) => !all.some((row) => row.name === name))
  if (unknown !== undefined) throw new Error(`no row is called ${unknown}. There are: ${all.map(({ name }) => name).join(', ')}`)
  for (const row of all.filter(({ name }) => given.only === undefined || given.only.includes(name))) {
    const variants = row.variants.filter(
      ({ name, broker }) =>
        (given.variant === undefined || given.variant.includes(name)) &&
        (given.broker === undefined || (broker ?? given.broker) === given.broker),
    )
    // Peers alone say nothing.
    if (given.variant === undefined && !variants.some(({ broker }) => broker !== undefined)) continue
    for (let round = 1; round <= rounds; round++) {
      for (const variant of variants) {
        await redis.flush()
        if (rabbit !== undefined) await emptyRabbit(rabbit.url)
        const numbers = await variant.run()
        samples.push({ row: row.name, variant: variant.name, round, numbers })
        process.stderr.write(`${row.name} ${round}/${rounds} ${variant.label}: ${brief(numbers)}\n`)
      }
    }
    loads.push(loadavg()[0] ?? 0)
    tables.push(tableOf(row, samples))
    print(`\n${tables.at(-1)}`)
  }
} finally {
  client.disconnect()
  await redis.stop()
  await rabbit?.stop()
}

const found = verdicts(samples)
const lines = found.map(
  ({ verdict, goal, says, measured, floor }) => `${verdict}  ${goal.padEnd(3)}  ${says}: ${measured} (floor ${floor})`,
)
print(lines.join('\n'))
// A whole run is evidence and stays beside this script; a part or a look does not replace it.
const isWhole = !given.quick && given.only === undefined && given.variant === undefined && given.broker === undefined
const folder = isWhole ? `${root}bench/` : `${root}.cache/bench/`
mkdirSync(folder, { recursive: true })
const load = { highest: Number(Math.max(...loads).toFixed(2)) }
writeFileSync(`${folder}results.json`, `${JSON.stringify({ ...about, load, floors: found, samples }, undefined, 2)}\n`)
writeFileSync(`${folder}results.md`, [...tables, '### Floors', '', ...lines.map((each) => `- ${each}`), ''].join('\n'))
print(`\nWritten: ${folder.slice(root.length)}results.json and results.md`)
if (isWhole && found.some(({ verdict }) => verdict === 'FAIL')) process.exitCode = 1

/** @param {string} url */
async function emptyRabbit(url) {
  const { default: amqplib } = await import('amqplib')
  const connection = await amqplib.connect(url)
  const channel = await connection.createChannel()
  await channel.deleteQueue('celery')
  await connection.close()
}

/** @param {Record<string, number>} numbers */
function brief(numbers) {
  return Object.entries(numbers)
    .map(([metric, value]) => `${metric} ${value >= 100 ? Math.round(value) : Number(value.toFixed(3))}`)
    .join(', ')
}

/** @param {string} text */
function print(text) {
  process.stdout.write(`${text}\n`)
}
