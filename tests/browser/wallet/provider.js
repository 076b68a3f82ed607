// A wallet as an extension puts it into pages. What it is asked goes to `standInWallet`, which answers for it; how that
// is said differs by wallet: Leather throws an error's whole answer, Xverse answers it, OKX throws the error alone.
(kind) => {
  const ask = (method, params) => window.standInWallet(kind, method, params === undefined ? null : params);
  // A page that another opens is begun twice.
  const put = (name, value) => name in window || Object.defineProperty(window, name, { value, configurable: false });
  const answer = (said) => ({ jsonrpc: "2.0", id: "1", ...said });

  const leather = {
    isLeather: true,
    request: async (method, params) => {
      const said = await ask(method, params);
      if (said.error) throw answer(said);
      return answer(said);
    },
  };
  const xverse = {
    signMultipleTransactions() {},
    createRepeatInscriptions() {},
    request: async (method, params) => answer(await ask(method, params)),
  };
  const okx = async (method, params) => {
    const said = await ask(method, params);
    if (said.error) throw said.error;
    return said.result;
  };

  // Leather is put into every frame, the others into pages of their own.
  if (kind === "Leather") {
    put("LeatherProvider", leather);
    (window.btc_providers ??= []).push({ id: "LeatherProvider", name: "Leather", methods: ["stx_callContract"] });
  }
  if (window.top !== window.self) return;
  if (kind === "Xverse") put("XverseProviders", { BitcoinProvider: xverse });
  if (kind === "Asigna") put("AsignaProvider", { request: xverse.request });
  if (kind === "OKX Wallet") {
    put("okxwallet", {
      stacks: { connect: () => okx("connect"), signTransaction: (transaction) => okx("signTransaction", transaction) },
    });
  }
};
