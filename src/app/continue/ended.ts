import { JsonText } from '../../protocol/json-text.js'
import { type RemoteErrorData, wireToRemote } from '../../protocol/remote-error.js'
import type { Embed } from '../../protocol/task-body.js'
import { encodeJson } from '../../serializers/json.js'
import type { MetaParts } from '../outcomes.js'

/** A task that has ended, as far as what follows it is concerned. */
export interface Ended {
  readonly id: string
  readonly rootId: string
  readonly groupId: string | null
  readonly groupIndex: number | null
  readonly embed: Embed
  /** What the calls that follow inherit: with `taskInheritParentPriority`. */
  readonly priority: number | undefined
  /** All this may have been done before: whoever follows is not sent a second time where that can be known. */
  readonly again: boolean
  readonly end: End
}

/** Who completes a chord. */
export type Closer = Pick<Ended, 'id' | 'rootId' | 'again' | 'priority'> & { readonly groupId: string }

export type End =
  | { readonly status: 'SUCCESS'; readonly result: JsonText }
  /** REVOKED: nobody's errbacks are called. */
  | { readonly status: 'FAILURE' | 'REVOKED'; readonly error: RemoteErrorData }

/** How a task ended, from what is stored of it. */
export function endOf({ status, result, traceback = null }: Pick<MetaParts, 'status' | 'result' | 'traceback'>): End {
  if (status === 'SUCCESS')
    return { status: 'SUCCESS', result: result instanceof JsonText ? result : new JsonText(encodeJson(result, 'result')) }
  return { status: status === 'REVOKED' ? 'REVOKED' : 'FAILURE', error: wireToRemote(result, traceback) }
}
