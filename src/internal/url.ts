/** URLs of brokers and backends as they may be shown: in logs, errors and the dashboard. */

/** A URL that may be shown: its password, and query values whose name says that they are secret, are `**`. Works on text that is no valid URL, too. */
export function redactUrl(url: string): string {
  return splitSentinels(url).map(redactOne).join(';')
}

function redactOne(url: string): string {
  return url
    .replace(/^([a-z0-9+.-]*:?\/\/)?([^:@]*):.*@/i, '$1$2:**@')
    .replaceAll(/([?&][^=&]*(?:pass|secret|token|key|signature)[^=&]*=)[^&]*/gi, '$1**')
}

/** The scheme in lower case without its colon: `redis` of `Redis://host`; undefined when there is none. */
export function urlScheme(url: string): string | undefined {
  return /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase()
}

/** The Sentinels of one broker, which kombu writes as a URL each with `;` between them; every other URL is one. */
function splitSentinels(url: string): readonly string[] {
  return /^sentinel:/i.test(url) ? url.split(/;(?=\s*sentinel:)/i) : [url]
}
