// Giving money back with the merchant's own wallet: the part of the page that asks it, as on the checkout.
import { watchWallets } from "./wallet_button.ts";

watchWallets((section) => section.dataset.call!);
