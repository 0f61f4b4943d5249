/** A Lua script: sent once by its text and then by its hash, as SCRIPT LOAD and EVALSHA have it. */
import { createHash } from 'node:crypto'
import type { Argument, RedisLink, Reply } from './link.js'
import { RedisReplyError } from './link.js'

export class Script {
  readonly #text: string
  readonly #sha: string

  /** `allowOom`: the script runs on a server that is full, too. For those that only take away or move (Redis 7 or later). */
  constructor(text: string, { allowOom = false }: { readonly allowOom?: boolean } = {}) {
    this.#text = allowOom ? `#!lua flags=allow-oom\n${text}` : text
    this.#sha = createHash('sha1').update(this.#text).digest('hex')
  }

  async run(link: RedisLink, keys: readonly string[], args: readonly Argument[]): Promise<Reply> {
    try {
      return await link.call('EVALSHA', [this.#sha, keys.length, ...keys, ...args])
    } catch (error) {
      if (!(error instanceof RedisReplyError && error.code === 'NOSCRIPT')) throw error
      // Nothing ran: the server was restarted, or never saw it.
      return link.call('EVAL', [this.#text, keys.length, ...keys, ...args])
    }
  }
}
