// Remote control and events of docs/guide/monitoring.md, checked. Needs a worker: celeriac -A ./shop.ts worker -E
import { equal, ok } from 'node:assert/strict'
import { add, app } from './shop.ts'

// region inspect
const active = await app.control.inspect().active() // { 'celery@box': [{ id, name, args, time_start, ... }] }
const [node = ''] = Object.keys(await app.control.ping({ timeout: '2s' }))
const { [node]: stats } = await app.control.inspect({ destination: [node] }).stats()
// endregion
ok(active[node]?.length === 0 && stats !== undefined)

// region control
await app.control.rateLimit('shop.add', '100/s') // { 'celery@box': { ok: 'new rate limit set successfully' } }
await app.control.addConsumer('imports', { pattern: 'celery@*' })
await app.control.poolGrow(2)
// endregion

// region signals
app.on('taskFailure', ({ task, id, args, error }) => console.error(task, id, args, error))
app.on('workerProcessInit', ({ pid }) => console.log(`process ${pid} opens its own connections now`))
// endregion

// region middleware
app.use({
  async publish(message, next) {
    message.headers.tenant = 'acme' // task, args, kwargs and headers may be changed
    await next()
  },
  async execute(self, next) {
    const startMs = performance.now()
    const value = await next() // what it throws is what the task throws
    self.log.debug(`took ${performance.now() - startMs} ms for ${self.request.headers.tenant}`)
    return value // what is returned is the task's result
  },
})
// endregion

// region own-command
app.controlCommand('log_level', ({ level }, { hostname }) => ({ ok: `${hostname} logs ${level}` }), {
  kind: 'control',
  help: 'what is logged',
  arguments: [{ name: 'level', kind: 'text', isRequired: true }],
})
// endregion

// region monitor
await using monitor = await app.monitor({
  onEvent: (event) => {
    if (event.type === 'task-failed') console.error(event.uuid, event.exception)
  },
})
await app.control.enableEvents() // or workers that run with -E
// endregion
const { id } = await add.delay(2, 3)
equal(await app.result(id).get({ timeout: '20s' }), 5)
const giveUp = AbortSignal.timeout(20_000)
while (monitor.state.task(id)?.state !== 'SUCCESS') {
  giveUp.throwIfAborted()
  await new Promise((resolve) => setImmediate(resolve))
}

// region state
const online = monitor.state.workers().filter(({ isAlive }) => isAlive)
const failed = monitor.state.tasks({ state: 'FAILURE', limit: 20 }) // the latest first
// endregion
equal(monitor.state.task(id)?.result, '5')
equal(failed.length, 0)
ok(online.some(({ hostname, processed }) => hostname === node && processed >= 0))
console.log('all as expected')
await app.close()
