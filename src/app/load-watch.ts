/** Loading an app runs its user's code, which may end the process or wait for ever: Node says nothing of either. */

const slowMs = 10_000

/** `shown` is the file's name, for people. */
export async function watchLoading<T>(shown: string, load: () => Promise<T>, ms = slowMs): Promise<T> {
  const unfinished = (why: string): void => say(`${shown} was not loaded to its end: ${why}`)
  // Nothing is left that could happen: process.exit() does not come by here.
  const onIdle = (): void => {
    process.off('exit', onExit)
    unfinished('an await at the top level of it, or of what it imports, waits for what never comes')
  }
  const onExit = (code: number): void => unfinished(`something in it ended the process with code ${code}`)
  const slow = setTimeout(() => say(`${shown} is still being loaded: it, or what it imports, awaits something at the top level`), ms)
  slow.unref()
  process.once('beforeExit', onIdle)
  process.once('exit', onExit)
  try {
    return await load()
  } finally {
    clearTimeout(slow)
    process.off('beforeExit', onIdle)
    process.off('exit', onExit)
  }
}

function say(text: string): void {
  process.stderr.write(`celeriac: ${text}\n`)
}
