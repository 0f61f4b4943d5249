/** URLs of brokers and backends as they may be shown: in logs, errors and the dashboard. */

/** The URL with its password, and query values that look like secrets, replaced by `***`. Text that is no URL is cut before its `@`. */
export function redactUrl(url: string): string {
  const withoutPassword = url.replace(/^([a-z][a-z0-9+.-]*:\/\/)([^/?#]*)@/i, (_, scheme: string, user: string) => {
    const colon = user.indexOf(':')
    return `${scheme}${colon === -1 ? user : `${user.slice(0, colon)}:***`}@`
  })
  return withoutPassword.replace(/([?&](?:password|passwd|secret|token|key)=)[^&#]*/gi, '$1***')
}

/** The scheme in lower case without its colon: `redis` of `Redis://host`; undefined when there is none. */
export function urlScheme(url: string): string | undefined {
  return /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase()
}
