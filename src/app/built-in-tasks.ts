/** Celery's own tasks (celery/app/builtins.py): every worker has them, because callers of either language send some of them by message. */
import { chordOf, groupOf, headerOf, signatureAt } from '../canvas/members.js'
import { planSignature } from '../canvas/planner.js'
import { InvalidMessageError } from '../errors.js'
import type { ResultTuple } from '../protocol/result.js'
import { parseSignature, type WireSignature } from '../protocol/signature.js'
import { boundArguments } from './arguments.js'
import { chordUnlock, unlockIntervalSeconds } from './chord-unlock.js'
import type { TaskContext } from './context.js'
import { derivedId } from './continue/derived-id.js'
import { startFromTask } from './continue/from-task.js'
import type { AppCore } from './core.js'
import { given, list, type RawCall } from './raw-call.js'
import type { Sender } from './sender.js'
import { callFunction, type TaskDefinition, type TaskOptions } from './task.js'

export function builtInTasks(core: AppCore, sender: Sender): readonly TaskDefinition[] {
  const start = (
    self: TaskContext,
    signature: WireSignature,
    given: { args?: readonly unknown[]; taskId?: string | undefined } = {},
  ): Promise<ResultTuple> => {
    const { id, rootId, redelivered } = self.request
    const plan = planSignature(signature, { ...given, rootId, parentId: id, newId: (path) => derivedId(id, `started${path}`) })
    return startFromTask(core, sender, { id, rootId, redelivered }, plan)
  }
  const unlock = chordUnlock(core, sender)
  /** The function of the task, here and now: no message, no request of its own. */
  const each = async (self: TaskContext, task: unknown, calls: readonly (readonly unknown[])[]): Promise<unknown[]> => {
    const definition = core.registry.need(parseSignature(task, 'task').task)
    const results: unknown[] = []
    for (const args of calls) results.push(await callFunction(definition, await boundArguments(definition, { args, kwargs: {} }), self))
    return results
  }
  return [
    builtIn('celery.accumulate', ({ args, kwargs: { index } }) => (typeof index === 'number' ? args[index] : args)),
    builtIn('celery.map', (call, self) =>
      each(
        self,
        given(call, 0, 'task'),
        list(given(call, 1, 'it'), 'it').map((item) => [item]),
      ),
    ),
    builtIn('celery.starmap', (call, self) =>
      each(
        self,
        given(call, 0, 'task'),
        list(given(call, 1, 'it'), 'it').map((item, index) => list(item, `it[${index}]`)),
      ),
    ),
    builtIn('celery.chunks', (call, self) => {
      const [task, it, n] = [given(call, 0, 'task'), given(call, 1, 'it'), given(call, 2, 'n')]
      return start(self, signatureAt({ task: 'celery.chunks', kwargs: { task, it, n }, immutable: true }, 'celery.chunks'))
    }),
    builtIn('celery.group', async (call, self) => {
      const tasks = list(given(call, 0, 'tasks'), 'tasks')
      const [result, groupId, partial] = [given(call, 1, 'result'), given(call, 2, 'group_id'), given(call, 3, 'partial_args')]
      await start(self, groupOf(tasks), {
        args: list(partial ?? [], 'partial_args'),
        taskId: typeof groupId === 'string' ? groupId : undefined,
      })
      return result
    }),
    builtIn('celery.chain', () => {
      throw new InvalidMessageError(
        'celery.chain is no task: a chain is sent as its first step, with the others in its message (subtask_type is missing)',
      )
    }),
    builtIn('celery.chord', (call, self) => {
      const body = signatureAt(given(call, 1, 'body'), 'body')
      const bare = chordOf(groupOf([]), body)
      const chord = chordOf(headerOf({ ...bare, kwargs: { header: given(call, 0, 'header'), body } }), body)
      return start(self, chord, { args: list(given(call, 2, 'partial_args') ?? [], 'partial_args') })
    }),
    builtIn('celery.backend_cleanup', async () => {
      await (await core.connections.backend()).cleanup({ nowMs: core.clock.now() })
      return null
    }),
    builtIn('celery.chord_unlock', unlock, {
      ignoreResult: true,
      maxRetries: null,
      defaultRetryDelay: unlockIntervalSeconds,
    }),
  ]
}

function builtIn(name: string, run: (call: RawCall, self: TaskContext) => unknown, options: TaskOptions = {}): TaskDefinition {
  return {
    name,
    options,
    params: [],
    kwargsSchema: undefined,
    argsSchema: undefined,
    bound: true,
    takesCall: true,
    run: (self: TaskContext, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>) => run({ args, kwargs }, self),
  }
}
