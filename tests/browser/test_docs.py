"""The API's reference in a real Chromium: nothing is refused by its content security policy, and it is accessible."""

from playwright.sync_api import expect

from tests.browser.conftest import ONE_LOOK, examine


def test_reference_shows_operations_and_events(open_page, fake_shop):
    page = open_page("/docs")
    expect(page.get_by_text("/v1/discount-codes/preview").first).to_be_visible(timeout=60_000)
    page.locator("#operations-products-products").click()
    expect(page.get_by_text("List the products on sale.").first).to_be_visible(timeout=60_000)
    page.locator("#operations-purchase-purchase .opblock-summary-control").first.click()
    expect(page.get_by_text("The buyer pays at").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("license.issued").first).to_be_visible(timeout=60_000)
    examine(page, "docs", ONE_LOOK)
