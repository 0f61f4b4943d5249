import { bytesOf } from '../../internal/sqlite/engine.js'
import type { Message } from '../../protocol/message.js'
import { decodeHead } from '../../protocol/message-head.js'
import type { Destination } from '../../protocol/topology.js'

/** The columns of `messages` and `dead_letters` that hold a message. The body is text or a blob, as it was published. */
export interface StoredMessage {
  readonly head: string
  readonly body: string | Uint8Array | ArrayBuffer
}

/** Throws DecodeError. */
export function decodeStored({ head, body }: StoredMessage): { readonly message: Message; readonly to: Destination } {
  return decodeHead(head, typeof body === 'string' ? body : bytesOf(body))
}

/** What `locate` looks for: a number, because random texts of 36 letters make an index that costs more than the message itself (FNV-1a, 32 bits). */
export function taskKey(taskId: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < taskId.length; index++) hash = Math.imul(hash ^ taskId.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
