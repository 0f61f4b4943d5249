// The Node half of the interop tests: an app as a user writes one, with the same tasks under the same names as python/interop_app.py.
import { AssertionError } from 'node:assert'
import { setTimeout as wait } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { z } from 'zod'
import { Celeriac } from '../../../dist/index.js'
import { canvasOf } from './canvas-of.mjs'

export const app = new Celeriac('interop', {
  acceptContent: ['json', 'msgpack', 'yaml'],
  ...JSON.parse(process.env.INTEROP_CONFIG ?? '{}'),
})

/** @type {Redis | undefined} Opened by the first task that needs it: the parent process runs none. */
let opened
const store = () => (opened ??= new Redis(process.env.INTEROP_STORE ?? ''))

/** Says that it is here, then waits until the test opens the gate. */
async function passGate(/** @type {string} */ name) {
  // A connection of its own: a blocking pop holds up what comes behind it.
  const own = store().duplicate()
  try {
    await own.rpush(`at-gate:${name}`, 'here')
    if ((await own.blpop(`gate:${name}`, 20)) === null) throw new Error(`nobody opened the gate ${name}`)
  } finally {
    own.disconnect()
  }
}

app.task('interop.add', { params: ['a', 'b'] }, (/** @type {number} */ a, /** @type {number} */ b) => a + b)

app.task('interop.echo', { params: ['value'] }, (/** @type {unknown} */ value) => value)

/** Who ran, and on what: `mark('a')` is ['a'], `mark(result, 'b')` is ['b', result]. */
app.task('interop.mark', (/** @type {unknown[]} */ ...args) => args.reverse())

class Boom extends Error {
  static python = { module: 'builtins', type: 'ValueError' }
}
app.task('interop.boom', (/** @type {unknown[]} */ ...args) => {
  throw new Boom(`boom ${args.at(-1)}`)
})

/** Hands on to a canvas: the last argument, in a list, as one object would be keyword arguments. */
app.task('interop.instead', { bind: true }, (self, /** @type {unknown[]} */ ...args) => {
  self.replace(canvasOf(app, /** @type {import('./canvas-of.mjs').CanvasData} */ (/** @type {unknown[]} */ (args.at(-1))[0])))
})

/** Adds a member to its chord: the last argument. */
app.task('interop.one_more', { bind: true }, async (self, /** @type {unknown[]} */ ...args) => {
  await self.addToChord(canvasOf(app, /** @type {import('./canvas-of.mjs').CanvasData} */ (/** @type {unknown[]} */ (args.at(-1))[0])))
  return args.slice(0, -1)
})

app.task('interop.place', { bind: true }, ({ request: r }, /** @type {unknown[]} */ ...args) => ({
  args,
  id: r.id,
  root: r.rootId,
  parent: r.parentId,
  group: r.group,
  index: r.groupIndex,
  nesting: r.replacedTaskNesting,
  stamps: r.stamps,
}))

app.task(
  'interop.greet',
  { kwargs: z.object({ name: z.string(), greeting: z.string().default('hello') }) },
  ({ name, greeting }) => `${greeting} ${name}`,
)

app.task('interop.request', { bind: true }, ({ request }) => ({
  id: request.id,
  root: request.rootId,
  parent: request.parentId,
  retries: request.retries,
  headers: request.headers,
  redelivered: request.redelivered,
  queue: request.queue,
  group: request.group,
}))

class CardDeclined extends Error {
  static python = { module: 'shop_errors', type: 'CardDeclined' }
}
class DeskClosed extends Error {
  static python = { module: 'shop_errors', type: 'Desk.Closed' }
}
class OutOfStock extends Error {}
class ModuleMissing extends Error {
  static python = { module: 'no_such_module', type: 'NotThere' }
}

/** @type {Record<string, () => unknown>} */
const thrown = {
  range: () => new RangeError('too far'),
  type: () => new TypeError('x is not a function'),
  reference: () => new ReferenceError('who'),
  syntax: () => new SyntaxError('unexpected }'),
  uri: () => new URIError('malformed'),
  assertion: () => new AssertionError({ message: 'expected 1' }),
  plain: () => new Error('boom'),
  module: () => new CardDeclined('acct-1'),
  nested: () => new DeskClosed('at night'),
  own: () => new OutOfStock('none left'),
  missing: () => new ModuleMissing('gone'),
  text: () => 'just text',
  chained: () => new RangeError('outer', { cause: new TypeError('inner') }),
}
app.task('interop.fail', (/** @type {string} */ kind) => {
  throw thrown[kind]?.()
})

app.task(
  'interop.flaky',
  { bind: true, params: ['times', 'countdown'], maxRetries: 5 },
  async (self, /** @type {number} */ times, /** @type {number} */ countdown = 0) => {
    const { retries, headers, id, parentId } = self.request
    await store().rpush(`runs:${id}`, `${retries} node`)
    if (retries < times) self.retry({ countdown, cause: new RangeError('again') })
    return { retries, headers, id, parent: parentId }
  },
)

app.task('interop.gives_up', { bind: true, maxRetries: 1 }, (self, /** @type {boolean} */ withCause) =>
  self.retry({ countdown: 0, ...(withCause ? { cause: new RangeError('still broken') } : {}) }),
)

app.task(
  'interop.report',
  { bind: true },
  async (self, /** @type {string} */ state, /** @type {Record<string, unknown>} */ meta, /** @type {string} */ gate) => {
    if (state === 'PROGRESS') await self.progress(Number(meta.current), Number(meta.total))
    else await self.updateState(state, meta)
    await passGate(gate)
    return 'done'
  },
)

app.task('interop.gate', async (/** @type {string} */ name) => {
  await passGate(name)
  return name
})

app.task('interop.note', { params: ['value', 'name'] }, async (/** @type {unknown} */ value, /** @type {string} */ name) => {
  await store().rpush(`note:${name}`, JSON.stringify(value))
  return value
})

app.task('interop.failed_node', async (/** @type {string} */ taskId, /** @type {string} */ name) => {
  await store().rpush(`note:${name}`, JSON.stringify(taskId))
})

app.task('interop.count', { bind: true, ignoreResult: true }, async (self, /** @type {string} */ key) => {
  const { id, redelivered } = self.request
  const how = `${process.pid} ${(Date.now() / 1000).toFixed(3)}${redelivered ? ' redelivered' : ''}`
  await Promise.all([store().hincrby(`ran:${key}`, id, 1), store().rpush(`ran-by:${key}`, `${id} node ${how}`)])
})

app.task('interop.sleep', { bind: true }, async (self, /** @type {number} */ seconds) => {
  await store().rpush(`starts:${self.request.id}`, Date.now() / 1000)
  try {
    await wait(seconds * 1000, undefined, { signal: self.signal })
  } catch {
    throw self.signal.reason
  }
  return seconds
})

/** Says how many of them run in this language, itself among them, for as long as that is given. */
app.task('interop.crowded', async (/** @type {string} */ name, /** @type {number} */ seconds) => {
  await store().rpush(`crowds:${name}:node`, await store().incr(`crowd:${name}:node`))
  await wait(seconds * 1000)
  await store().decr(`crowd:${name}:node`)
  return 'node'
})

app.task('interop.where', () => 'node')
