import { isEmptyChain } from '../../canvas/freeze.js'
import { withCallbacks, withErrbacks } from '../../canvas/links.js'
import { bodyOf, chordOf, kindOf, signatureAt, tasksOf, withBody, withTasks } from '../../canvas/members.js'
import { Ignore, OptionInvalidError } from '../../errors.js'
import { parseSignature, type WireSignature } from '../../protocol/signature.js'
import type { Embed } from '../../protocol/task-body.js'
import { linksWithIds } from './plans.js'

/** How `self.replace()` leaves the task's function. */
export class ReplaceSignal extends Ignore {
  /** As JSON. */
  readonly signature: string

  constructor(signature: string) {
    super('the task was replaced by another')
    this.signature = signature
  }
}

/**
 * What takes the place of the task `id`, with that one's links moved to it (celery/app/task.py replace): a group, also one without members, becomes a chord, so that
 * its list is the result.
 * Throws OptionInvalidError for what cannot take a place.
 */
export function replacementOf(
  signature: WireSignature,
  { id, embed, errbacksOnHeaders }: { readonly id: string; readonly embed: Embed; readonly errbacksOnHeaders: boolean },
): WireSignature {
  const { chord } = signature.options
  if (chord !== undefined && chord !== null)
    throw new OptionInvalidError('the signature given to self.replace()', 'one that is not part of a chord already', signature.task)
  if (isEmptyChain(signature))
    throw new OptionInvalidError('the signature given to self.replace()', 'one with at least one task', signature.task)
  const whole = withResult(signature)
  const callbacks = linksWithIds(id, 'callbacks', embed.callbacks)
  return withErrbacks(withCallbacksAtEnd(whole, callbacks), linksWithIds(id, 'errbacks', embed.errbacks), errbacksOnHeaders)
}

/**
 * A group has no result of its own: something must come after it, and give on what it gets. So it is with the group in which a chain ends, or the body of a chord.
 */
export function withResult(given: WireSignature): WireSignature {
  const signature = signatureAt(given, 'signature')
  switch (kindOf(signature)) {
    case 'group':
      return chordOf(signature, accumulate)
    case 'chord':
      return withBody(signature, withResult(bodyOf(signature)))
    case 'chain': {
      const tasks = tasksOf(signature)
      if (tasks.length === 0) return signature
      return withTasks(signature, [...tasks.slice(0, -1), withResult(signatureAt(tasks.at(-1), 'kwargs.tasks'))])
    }
    default:
      return signature
  }
}

const accumulate: WireSignature = {
  task: 'celery.accumulate',
  args: [],
  kwargs: { index: 0 },
  options: {},
  subtask_type: null,
  immutable: false,
}

/** The rest of the chain that the task was in comes after it, too: its own links are those of its last task. */
function withCallbacksAtEnd(signature: WireSignature, callbacks: readonly WireSignature[]): WireSignature {
  if (kindOf(signature) !== 'chain') return withCallbacks(signature, callbacks)
  const tasks = tasksOf(signature)
  return withTasks(signature, [...tasks.slice(0, -1), withCallbacks(parseSignature(tasks.at(-1), 'kwargs.tasks'), callbacks)])
}
