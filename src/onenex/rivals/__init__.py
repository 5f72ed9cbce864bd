"""The learnt rivals that OneNEX is measured against: their networks, their weights file and their samplers. No part of the product."""
