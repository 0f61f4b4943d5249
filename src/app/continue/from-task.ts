/** Workflows that a running task starts. Their ids are made from the task's: a run of it that is repeated starts nothing twice. */
import type { AsyncResult } from '../../canvas/handles.js'
import type { Plan } from '../../canvas/plan.js'
import { planSignature } from '../../canvas/planner.js'
import { NotSupportedError } from '../../errors.js'
import type { ResultTuple } from '../../protocol/result.js'
import type { WireSignature } from '../../protocol/signature.js'
import { runningTask } from '../context.js'
import type { AppCore } from '../core.js'
import type { Sender } from '../sender.js'
import { continuerAt } from './at-broker.js'
import type { Continuer } from './continuer.js'
import { derivedId } from './derived-id.js'
import { withResult } from './replacement.js'

/** The task that runs. */
interface From {
  readonly id: string
  readonly rootId: string
  readonly redelivered: boolean
}

/** A continuer for the place where a task runs, which is not the one that holds its message. */
export async function continuerInTask(core: AppCore, sender: Sender): Promise<Continuer> {
  const [backend, connection] = await Promise.all([core.connections.backend(), core.connections.publisher()])
  return continuerAt({ core, sender, backend, connection, isHeld: () => false })
}

export async function startFromTask(core: AppCore, sender: Sender, from: From, plan: Plan): Promise<ResultTuple> {
  const running = runningTask()
  if (running?.starts !== undefined) await running.starts.start(plan)
  else await (await continuerInTask(core, sender)).start(plan, { again: from.redelivered })
  running?.addChild(plan.started)
  return plan.result
}

interface Addition {
  readonly core: AppCore
  readonly sender: Sender
  readonly info: From & { readonly group: string | null; readonly groupIndex?: number | undefined }
  /** The body of the chord. */
  readonly chord: unknown
  /** Of the calls in this run. */
  readonly nth: number
}

/** `self.addToChord`: one more header, in the place of the one that adds it. A group is added as one header, whose result is its list. */
export async function addToChord({ core, sender, info, chord, nth }: Addition, signature: WireSignature): Promise<AsyncResult<unknown>> {
  const { group } = info
  if (chord === null || group === null) throw new NotSupportedError('self.addToChord()', 'this task is not a header of a chord')
  const plan = planSignature(withResult(signature), {
    rootId: info.rootId,
    parentId: info.id,
    chord,
    groupId: group,
    groupIndex: info.groupIndex,
    newId: (path) => derivedId(info.id, `added/${nth}${path}`),
  })
  const [[id]] = plan.result
  const starts = runningTask()?.starts
  if (starts !== undefined) await starts.grow(group, [id])
  else await (await core.connections.backend()).growChord(group, [id], { expiresSeconds: core.config.resultExpires })
  await startFromTask(core, sender, info, plan)
  return sender.handle(id)
}
