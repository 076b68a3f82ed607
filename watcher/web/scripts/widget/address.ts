// Which page the frame shows: a checkout or a payment link of the server that the script came from, or of one that is
// named.

export interface Target {
  checkoutUrl?: string | null | undefined;
  link?: string | null | undefined;
  server?: string | null | undefined;
}

/** Return the folder that a script was loaded from, undefined where that is not known. */
export function folderOf(script: string | undefined): URL | undefined {
  return script && /^https?:/.test(script) ? new URL(".", script) : undefined;
}

/** Return the address to frame; `home` is the folder of the script. Throws a TypeError that says what to write. */
export function addressOf({ checkoutUrl, link, server }: Target, home: URL | undefined): URL {
  const base = server ? parse(server.replace(/\/*$/, "/"), "server") : home;
  if (!base) throw wrong("name the server of the page: server: \"https://pay.example\"");
  if (!checkoutUrl === !link) throw wrong("give one of checkoutUrl (an intent's checkout_url) and link (a link's code)");
  const address = checkoutUrl
    ? parse(checkoutUrl.replace(/^\//, ""), "checkoutUrl", base)
    : parse(/^[\w-]+$/.test(link!) ? `l/${link}` : link!.replace(/^\//, ""), "link", base);
  const place = base.href + (checkoutUrl ? "pay/" : "l/");
  const path = address.origin + address.pathname;
  if (address.username || address.password || !path.startsWith(place) || !/^[\w-]+$/.test(path.slice(place.length))) {
    throw wrong(`${checkoutUrl || link} is not below ${place}; name its server if it is of another one`);
  }
  address.hash = "";
  return address;
}

function parse(text: string, what: string, base?: URL): URL {
  let url: URL | undefined;
  try {
    url = new URL(text, base);
  } catch {
    // Said below.
  }
  if (!url || !/^https?:$/.test(url.protocol)) throw wrong(`${what} is no web address: ${text}`);
  return url;
}

function wrong(what: string): TypeError {
  return new TypeError(`sbtc-pay: ${what}`);
}
