import type { Continuations } from '../../pool.js'
import type { Message } from '../../protocol/message.js'
import { parseSignature } from '../../protocol/signature.js'
import { decodeEmbedIn, type Embed, emptyEmbed } from '../../protocol/task-body.js'
import type { TaskHead } from '../../protocol/task-head.js'
import { decodeJson, encodeJson } from '../../serializers/json.js'
import type { AppCore } from '../core.js'
import { applyOptionsOf } from '../signature-options.js'

/** What is to be done after a task; null when that is nothing. `crosses`: it goes to another process, which knows no dates and no BigInts. */
export function continuationsOf(embed: Embed, { crosses = false }: { readonly crosses?: boolean } = {}): Continuations | null {
  const { callbacks, errbacks, chain, chord } = embed
  if (isNothing(callbacks) && isNothing(errbacks) && isNothing(chain) && chord === null) return null
  return crosses ? encodeJson(embed, 'embed') : embed
}

export function embedOf(continuations: Continuations | null): Embed {
  if (continuations === null) return emptyEmbed
  // Written by `continuationsOf` in a process of this version.
  return typeof continuations === 'string' ? (decodeJson(continuations) as Embed) : continuations
}

/** In the place of a chord's body: the message cannot be read, but it is a member of a group, which may be the header of a chord. The result store may know its body. */
export const unreadBody: object = Object.freeze({})

/** The same from the message itself, for a task that did not run, or of whose run nothing is left. Of a body that cannot be read, no more than that a chord may wait for it. */
export async function continuationsIn(core: AppCore, message: Message, { compression, group }: TaskHead): Promise<Continuations | null> {
  const content = compression === null ? message : { ...message, compression }
  try {
    return continuationsOf(decodeEmbedIn(await core.serializers.decode(content, { accept: core.config.acceptContent })))
  } catch (error) {
    core.log.debug({ err: error }, 'what follows a message that cannot be read is not known')
    return group === null ? null : continuationsOf({ ...emptyEmbed, chord: unreadBody })
  }
}

/** After its success a task counts as a part of its chord, and that is all. */
export function isOnlyPart({ callbacks, chain, chord }: Embed): boolean {
  return chord !== null && isNothing(callbacks) && isNothing(chain)
}

/** To be asked before a task runs: throws for what could not be sent after it. Of a chain only the next step is looked at; the others have their turn. */
export function checkContinuations({ callbacks, errbacks, chain }: Embed): void {
  for (const [index, given] of (callbacks ?? []).entries()) applyOptionsOf(parseSignature(given, `embed.callbacks[${index}]`).options)
  for (const [index, given] of (errbacks ?? []).entries()) applyOptionsOf(parseSignature(given, `embed.errbacks[${index}]`).options)
  if (chain !== null && chain.length > 0) applyOptionsOf(parseSignature(chain.at(-1), `embed.chain[${chain.length - 1}]`).options)
}

const isNothing = (list: readonly unknown[] | null): boolean => list === null || list.length === 0
