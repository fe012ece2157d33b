/** Who the page is to the gateway: an API key, where one is needed. It stays in the edge's worker. */
import { EdgeError, unavailable } from "./errors.ts";

const STATUSES: Record<number, string> = {
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  429: "RESOURCE_EXHAUSTED",
  503: "UNAVAILABLE",
};

const TOKENS = "realtime/client_secrets";

export class Access {
  readonly base: URL;

  /**
   * @param root of what the gateway serves.
   * @param path of one kind of worker, below it.
   */
  constructor(
    private readonly root: URL,
    path: string,
    private readonly key: string,
  ) {
    this.base = new URL(path, root);
  }

  /** What the gateway answers; rejects with an `EdgeError` where that is no answer. */
  async fetch(url: URL, method: "GET" | "POST" = "GET"): Promise<Response> {
    const headers: HeadersInit = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    const response = await fetch(url, { method, headers }).catch(() => {
      throw unavailable("the gateway does not answer");
    });
    if (response.ok) return response;
    const status = STATUSES[response.status] ?? "INTERNAL";
    throw new EdgeError(status, await reason(response), 1e3 * Number(response.headers.get("Retry-After")));
  }

  /** The address of one call. A WebSocket carries no key: a token goes with it, which is good for that call alone. */
  async callUrl(): Promise<string> {
    const url = new URL("frames", this.base);
    url.protocol = url.protocol.replace("http", "ws");
    if (this.key) {
      const minted = await this.fetch(new URL(TOKENS, this.root), "POST");
      url.searchParams.set("token", (await minted.json()).value);
    }
    return url.href;
  }
}

/** Why the gateway did not give what it was asked for. */
async function reason(response: Response): Promise<string> {
  try {
    return (await response.json()).error.message;
  } catch {
    return `the gateway answers ${response.status}`;
  }
}
