/** Group results as Celery keeps them (celery/result.py GroupResult.save): which tasks belong to a group. */
import { DecodeError } from '../../errors.js'
import { integerOf, listOf } from '../../internal/redis/link.js'
import { isRecord } from '../../protocol/plain.js'
import { isResultTuple, type ResultTuple } from '../../protocol/result.js'
import { decodeJson } from '../../serializers/json.js'
import type { ResultKeys } from './keys.js'
import type { LinkHolder } from './link-holder.js'
import { storedText } from './stored-text.js'

export class GroupStore {
  readonly #holder: LinkHolder
  readonly #keys: ResultKeys

  constructor(holder: LinkHolder, keys: ResultKeys) {
    this.#holder = holder
    this.#keys = keys
  }

  /** Keeps a group's tuple, whatever was there. */
  async save(group: ResultTuple, { expiresSeconds }: { readonly expiresSeconds: number | null }): Promise<void> {
    const key = this.#keys.group(group[0][0])
    const expiry = expiresSeconds === null ? [] : ['EX', Math.ceil(expiresSeconds)]
    await this.#holder.run((link) => link.call('SET', [key, JSON.stringify({ result: group }), ...expiry]))
  }

  /** Undefined: no such group is kept. Throws DecodeError, which names the key. */
  async restore(groupId: string): Promise<ResultTuple | undefined> {
    const key = this.#keys.group(groupId)
    const [stored] = listOf(await this.#holder.run((link) => link.call('MGET', [key])))
    if (!(stored instanceof Buffer)) return undefined
    const value = decodeJson(storedText(stored))
    if (isRecord(value) && isResultTuple(value.result)) return value.result
    throw new DecodeError(`the value of the Redis key ${JSON.stringify(key)} is not a group result`)
  }

  /** Whether it was there. */
  async delete(groupId: string): Promise<boolean> {
    return integerOf(await this.#holder.run((link) => link.call('DEL', [this.#keys.group(groupId)]))) === 1
  }
}
