import { createInterface } from 'node:readline/promises'
import { UsageError } from './usage-error.js'

/** Asks on the terminal; the answer is no unless it begins with y. Throws UsageError when there is none to ask on: `flag` says how to answer beforehand. */
export async function confirmed(question: string, flag = '--yes'): Promise<boolean> {
  if (process.stdin.isTTY !== true) throw new UsageError(`${question} There is no terminal to ask on: add ${flag} if that is meant.`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim())
  } finally {
    terminal.close()
  }
}
