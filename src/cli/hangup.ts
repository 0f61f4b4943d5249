/** For commands that stop in order when their terminal is closed: they end by SIGHUP then, since Node crashes when it is to put in order a terminal that is gone. */
export function endsByHangup(): void {
  process.once('SIGHUP', () => {
    if (![process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY === true)) return
    process.once('exit', () => {
      process.removeAllListeners('SIGHUP')
      process.kill(process.pid, 'SIGHUP')
    })
  })
}
